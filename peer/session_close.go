// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

const (
	maxCloseSends = 5
	minLinger     = 200 * time.Millisecond
	maxLinger     = 3 * time.Second
	maxReplies    = 16 // packets sent while lingering
)

// A closer is the end of a session in progress.
type closer struct {
	wanted  bool      // close once everything is delivered
	code    Code      // with this
	sends   int       // CLOSE packets sent
	again   time.Time // when to send the next
	over    time.Time // when lingering ends
	told    *wire.Close
	replies int
}

func (c *closer) next() time.Time { return earliest(c.again, c.over) }

// Close ends the session in good order: it waits until every queued message has been delivered, tells the peer,
// and waits until the peer knows. If ctx ends before, the session ends at once and ctx's error is returned; if the
// session ends otherwise before, such as by the peer's own close, why is. Messages that the peer has not finished
// sending are lost; agree with it on who closes.
func (s *Session) Close(ctx context.Context) error {
	s.post(func(now time.Time) { s.wantClose(now, CodeClosed) })
	select {
	case <-s.done:
		if s.delivered {
			return nil
		}
		return s.err
	case <-ctx.Done():
		s.Abort(CodeClosed, "")
		<-s.done
		return ctx.Err()
	}
}

// Abort ends the session at once and tells the peer why, as far as one packet can. Messages not yet delivered are
// abandoned. reason is for humans; at most 256 bytes of it arrive. code must not exceed 2^62-1.
func (s *Session) Abort(code Code, reason string) {
	s.e.abandon(s) // the next dial starts another
	e := &CloseError{Code: min(code, wire.MaxVarint), Reason: reason}
	s.post(func(now time.Time) { s.abort(now, e) })
}

func (s *Session) abort(now time.Time, e *CloseError) {
	if s.phase < phaseReady {
		s.failSetup(now, errCanceled)
		return
	}
	s.end(now, e, true)
}

// shutdown is Close for an endpoint that closes: it leaves no time for lingering.
func (s *Session) shutdown(ctx context.Context) {
	s.post(func(now time.Time) {
		if s.phase < phaseReady {
			s.failSetup(now, errEndpointClosed)
		}
		s.wantClose(now, CodeShutdown)
	})
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	s.post(s.kill)
}

// kill ends the session at once and leaves no time for lingering.
func (s *Session) kill(now time.Time) {
	s.end(now, errEndpointClosed, true)
	s.phase = phaseGone
}

func (s *Session) wantClose(now time.Time, code Code) {
	if s.phase < phaseReady && s.mux.Idle() { // nothing waits for the session to be established
		s.failSetup(now, errCanceled)
		return
	}
	if s.phase <= phaseReady && !s.closeAt.wanted {
		s.closeAt.wanted, s.closeAt.code = true, code
	}
}

// pollClose starts the close once the flow machine has delivered everything.
func (s *Session) pollClose(now time.Time) {
	if !s.closeAt.wanted || s.phase != phaseReady || !s.mux.Idle() {
		return
	}
	s.phase, s.delivered = phaseClosing, true
	s.e.retire(s)
	s.sendClose(now, wire.Close{Code: uint64(s.closeAt.code)})
}

func (s *Session) sendClose(now time.Time, c wire.Close) {
	s.closeAt.told = &c
	s.closeAt.sends++
	s.closeAt.again = now.Add(s.mux.PTO() << (s.closeAt.sends - 1))
	s.sendAlone(now, s.mob.Current().Key, wire.AppendClose(nil, c))
}

func (s *Session) handleCloseTimeouts(now time.Time) {
	if s.phase != phaseClosing || now.Before(s.closeAt.again) {
		return
	}
	if s.closeAt.sends >= maxCloseSends {
		s.end(now, &CloseError{Code: s.closeAt.code}, false)
		return
	}
	s.sendClose(now, *s.closeAt.told)
}

// handleWhileClosing takes a packet of the peer after we have said that the session is over.
func (s *Session) handleWhileClosing(now time.Time, payload []byte) {
	for len(payload) > 0 {
		t, body, rest, err := wire.NextChunk(payload)
		if err != nil || t == wire.ChunkPadding {
			break
		}
		payload = rest
		switch t {
		case wire.ChunkCloseAck:
			if s.phase == phaseClosing {
				s.end(now, &CloseError{Code: s.closeAt.code}, false)
				return
			}
			s.phase = phaseGone
			return
		case wire.ChunkClose:
			if s.phase == phaseClosing { // both close at once
				if c, err := wire.ParseClose(body); err == nil {
					s.handleClose(now, c)
				}
				return
			}
			s.replyClosed(now, closeAck)
			return
		}
	}
	if s.phase == phaseLinger && s.closeAt.told != nil {
		s.replyClosed(now, wire.AppendClose(nil, *s.closeAt.told))
	}
}

// replyClosed repeats to a peer that still sends that the session is over.
func (s *Session) replyClosed(now time.Time, chunk []byte) {
	if s.closeAt.replies >= maxReplies {
		return
	}
	s.closeAt.replies++
	s.sendAlone(now, s.mob.Current().Key, chunk)
}

var closeAck = wire.AppendChunk(nil, wire.ChunkCloseAck, nil)

// handleClose ends the session because the peer says so.
func (s *Session) handleClose(now time.Time, c wire.Close) {
	s.sendAlone(now, s.mob.Current().Key, closeAck)
	s.end(now, &CloseError{Code: Code(c.Code), Reason: c.Reason, Remote: true}, false)
	if s.phase == phaseGone { // our acknowledgement may be lost: stay to repeat it
		s.linger(now)
	}
}

// end is the end of the session: every handle fails with e from now on. tell says whether the peer is to be told.
func (s *Session) end(now time.Time, e *CloseError, tell bool) {
	if s.phase < phaseReady {
		s.failSetup(now, e)
		return
	}
	if !tell {
		s.endWith(now, e, nil)
		return
	}
	s.endWith(now, e, e)
}

// endWith ends the session with err and tells the peer c, if not nil.
func (s *Session) endWith(now time.Time, err error, c *CloseError) {
	if s.phase >= phaseLinger {
		return
	}
	x := s.examine(now, err)
	s.mu.Lock()
	s.explained = x
	s.mu.Unlock()
	if dial, ok := errors.AsType[*DialError](err); ok {
		dial.Explanation = x
	}
	if c != nil && s.keys != nil {
		told := wire.Close{Abrupt: true, Code: uint64(c.Code), Reason: c.Reason}
		s.closeAt.told = &told
		s.sendAlone(now, s.mob.Current().Key, wire.AppendClose(nil, told))
		s.linger(now)
	} else {
		s.phase = phaseGone
	}
	s.endStall(now)
	s.err = err
	s.sortArrived()
	s.mux.Close(now, err)
	s.endArrived(err)
	s.events.close(err)
	s.e.retire(s)
	s.logEnd(err)
	s.endTrace(now, err)
	close(s.done)
}

// linger keeps the session for the packets that are still under way.
func (s *Session) linger(now time.Time) {
	s.phase = phaseLinger
	s.closeAt.again = time.Time{}
	s.closeAt.over = now.Add(min(max(3*s.mux.PTO(), minLinger), maxLinger))
}
