// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
)

const (
	maxTold    = 256       // posted work beyond which more from outside is dropped
	receiveMax = 128 << 10 // bytes handled before the loop sends what they ask for
)

// post hands work to the loop. It reports false if the loop has ended and will not see it.
func (s *Session) post(f func(now time.Time)) bool {
	s.mu.Lock()
	finished := s.finished
	if !finished {
		s.posted = append(s.posted, f)
	}
	s.mu.Unlock()
	s.notify()
	return !finished
}

// ask returns what f says in the session's loop, which takes microseconds, and false if the session has ended.
func ask[T any](s *Session, f func(now time.Time) T) (v T, ok bool) {
	c := make(chan T, 1)
	s.post(func(now time.Time) { c <- f(now) })
	select {
	case v = <-c:
		return v, true
	case <-s.gone:
		return v, false
	}
}

// tell is post for work that others can cause to be posted, of which there may be too much.
func (s *Session) tell(f func(now time.Time)) bool {
	s.mu.Lock()
	full := len(s.posted) >= maxTold
	s.mu.Unlock()
	if full {
		s.e.drop(dropQueueFull)
		return true
	}
	return s.post(f)
}

// notify makes the loop look for work.
func (s *Session) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// start runs the loop.
func (s *Session) start() { s.e.wg.Go(s.loop) }

// loop works on the session until it is gone. After every event it sends whatever the machines want sent, and sleeps
// until the next event or the earliest of their timeouts.
func (s *Session) loop() {
	defer s.finish()
	s.own.Lock()
	s.startTrace()
	for {
		more := s.round()
		alarm := s.alarm.timer.C
		gone := s.phase == phaseGone
		s.own.Unlock()
		if gone {
			s.alarm.stop()
			return
		}
		if !more {
			select {
			case <-s.wake:
			case <-alarm:
			}
		}
		s.own.Lock()
	}
}

// round does all there is to do for now, and reports whether it stopped before it was through. Whoever calls it holds
// s.own.
func (s *Session) round() (more bool) {
	s.counts.rounds++
	s.runPosted()
	now, more := s.receive()
	s.noteSleep(now)
	if !more { // else what a timer misses may be at hand
		s.mux.Collect(now) // as new as it is
		s.handleTimeouts(s.takenAt)
	}
	more = s.send(now) || more
	if s.phase == phaseGone {
		s.quiet.Store(0)
		return false
	}
	s.alarm.at(now, s.nextTimeout())
	s.setQuiet(more)
	return more
}

func (s *Session) runPosted() {
	s.mu.Lock()
	work := s.posted
	s.posted = nil
	s.mu.Unlock()
	if len(work) == 0 {
		return
	}
	now := time.Now()
	for _, f := range work {
		f(now)
	}
}

// receive handles what has arrived, or some of it if it is much, and reports the time when it is through and whether
// there is more. What arrives meanwhile wakes the loop; timers are believed only as far as takenAt, therefore, however
// long this takes.
func (s *Session) receive() (now time.Time, more bool) {
	again := s.takenNext == len(s.taken)
	if again {
		s.taken, s.takenNext = s.inbox.take(), 0
	}
	now = time.Now() // none of them has arrived later
	if again {
		s.takenAt = now
	}
	handled := 0
	for ; s.takenNext < len(s.taken) && handled < receiveMax; s.takenNext++ {
		t := &s.taken[s.takenNext]
		handled += len(t.b)
		s.handleTrain(now, t)
		s.forgetTrain(t)
	}
	s.sortArrived()
	if handled > udp.BufferSize {
		now = time.Now() // this has taken a while
	}
	return now, s.takenNext < len(s.taken)
}

// forgetTrain gives back what a train holds.
func (s *Session) forgetTrain(t *train) {
	s.e.queued.Add(-int64(t.charge()))
	t.buf.Release()
	*t = train{}
}

// nextTimeout returns when the loop must run again at the latest.
func (s *Session) nextTimeout() time.Time {
	next := earliest(s.closeAt.next(), s.seekTimeout())
	switch s.phase {
	case phaseSetup:
		next = earliest(next, s.deadline)
		if s.at != nil {
			next = earliest(next, s.at.resendAt)
		}
		return earliest(next, s.mux.NextTimeout()) // deadlines of what waits to be sent
	case phaseLinger, phaseGone:
		return next
	case phaseKeyed:
		next = earliest(next, s.deadline)
	default:
		next = earliest(next, s.agentEnd)
		next = earliest(next, s.lingerEnds())
		if s.phase == phaseReady {
			next = earliest(next, s.moves.next())
		}
	}
	if s.muted() {
		next = earliest(next, s.mux.NextDeadline())
	} else {
		next = earliest(next, s.mux.NextTimeout())
	}
	return earliest(earliest(next, s.mob.NextTimeout()), s.nextPunch())
}

// muted reports whether no packet of the flows may be sent, because it would be too much for a path that is not proven.
func (s *Session) muted() bool { return s.mob.Budget(s.mob.Current().Key) < s.mux.MaxPacket() }

func (s *Session) handleTimeouts(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if due(s.seekTimeout()) {
		s.handleSeekTimeout(now)
	}
	switch s.phase {
	case phaseSetup:
		if due(s.deadline) {
			s.failSetup(now, s.timeoutError())
			return
		}
		if s.at != nil && due(s.at.resendAt) {
			s.resendOffer(now)
		}
		s.mux.HandleTimeout(now) // nothing can be sent, but what is queued may have to be given up
		return
	case phaseLinger:
		if due(s.closeAt.over) {
			s.phase = phaseGone
		}
		return
	case phaseGone:
		return
	case phaseKeyed:
		if due(s.deadline) {
			s.failSetup(now, ErrIdentity)
			return
		}
	default:
		if due(s.agentEnd) {
			s.endSetupSoon()
		}
		if due(s.lingerEnds()) {
			s.end(now, &CloseError{Code: CodeIdle}, true)
			return
		}
	}
	if s.muted() {
		s.mux.HandleDeadlines(now)
	} else if due(s.mux.NextTimeout()) {
		probes := s.mux.Stats().ProbeTimeouts
		s.mux.HandleTimeout(now)
		if s.mux.Stats().ProbeTimeouts != probes { // what was sent by the current path is not acknowledged
			s.mob.HandleStall(now)
			if s.punch != nil {
				s.punch.m.HandleDistress(now, "packets by the relay are lost")
			}
		}
	}
	s.mob.HandleTimeout(now)
	s.punchTimeouts(now)
	s.handleCloseTimeouts(now)
}

// timeoutError says what was missing when the time to establish the session ran out.
func (s *Session) timeoutError() error {
	switch s.stage {
	case StageSignaling:
		return ErrNoAnswer
	case StagePath:
		return ErrUnreachable
	default:
		return context.DeadlineExceeded
	}
}

// finish lets go of everything; the loop has ended.
func (s *Session) finish() {
	s.endSetup()
	s.endSeek()
	s.closePunch()
	for i := range s.taken[s.takenNext:] {
		s.forgetTrain(&s.taken[s.takenNext+i])
	}
	s.taken, s.takenNext = nil, 0
	s.e.queued.Add(-int64(s.inbox.close()))
	s.forgetPaths()
	for !s.retired() { // such as an offer that came too late for this session and is passed on
		s.runPosted()
	}
	s.e.forget(s)
	s.e.critical.forget(s)
	s.e.routes.Delete(s.local)
	close(s.gone)
}

// retired refuses further work, unless there still is some.
func (s *Session) retired() bool {
	now := time.Now()
	last := s.snapshot(now)
	x := s.explain(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = len(s.posted) == 0
	s.last, s.explained = last, x
	return s.finished
}
