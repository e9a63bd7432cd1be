// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

const agentLinger = 10 * time.Second // how long ICE goes on looking for a direct path once the session stands

// established is called when the peer has proven its identity.
func (s *Session) established(now time.Time) {
	s.phase, s.stage = phaseReady, StageReady
	s.mark("ready", now)
	s.agentEnd = now.Add(agentLinger)
	s.log.Info("session established", slog.String("path", s.mob.Current().Kind.String()),
		slog.Any("addr", s.mob.Current().Remote))
	s.attempt, s.moves.told = s.at.id, s.at.told
	s.announce(now, false) // if there is something that it was not told, as when it was dialled by address
	s.openEventLog()
	close(s.ready)
	s.e.established(s)
}

// failSetup ends a session that was never established.
func (s *Session) failSetup(now time.Time, err error) {
	if s.phase >= phaseReady {
		return
	}
	code := CodeTimeout
	switch {
	case errors.Is(err, ErrIdentity):
		code = CodeIdentity
	case errors.Is(err, errEndpointClosed):
		code = CodeShutdown
	case errors.Is(err, errCanceled):
		code = CodeCanceled
	}
	if s.at != nil && s.phase == phaseSetup && !s.at.direct && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrRefused) {
		s.sayBye(now, code)
	}
	s.endWith(now, &DialError{ID: s.id, Stage: s.stage, Err: err}, &CloseError{Code: code})
}

// sayBye tells the peer by signaling that this try is over, behind what is still being sent.
func (s *Session) sayBye(now time.Time, code Code) {
	s.outbox = nil
	if s.lastSent == nil {
		return // nothing has been said yet
	}
	m := s.message(s.at, signaling.KindBye, now)
	m.Code = uint64(code)
	payload, err := signaling.Seal(s.e.cfg.Key, s.id, m)
	if err != nil {
		s.log.Error("bye not sealed", slog.Any("err", err))
		return
	}
	s.e.signalAfter(s.lastSent, s.id, payload)
}

// handleBye ends the try when the peer says so by signaling.
func (s *Session) handleBye(now time.Time, m *signaling.Message) {
	if s.at == nil || s.phase > phaseKeyed || s.at.id != attemptID(m.Attempt) {
		return
	}
	if s.phase == phaseKeyed {
		s.end(now, &CloseError{Code: Code(m.Code), Reason: m.Reason, Remote: true}, false)
		return
	}
	if Code(m.Code) == CodeCanceled && !s.at.direct && s.restarts < maxRestarts && s.e.wantedHere(s) {
		s.restarts++
		// The peer has given up a dial that took the place of ours: ours goes on.
		s.stage = StageSignaling
		s.startOffer(now, nil)
		return
	}
	var err error = &CloseError{Code: Code(m.Code), Reason: m.Reason, Remote: true}
	switch Code(m.Code) {
	case CodeRefused:
		err = ErrRefused
	case CodeTimeout: // the peer's time has run out a moment before ours
		err = s.timeoutError()
	}
	s.failSetup(now, err)
}

// endSetup drops what was needed to establish the session.
func (s *Session) endSetup() {
	s.agentEnd = time.Time{}
	if s.at == nil {
		return
	}
	s.dropSetup()
	s.at = nil
}

// endSetupSoon has the loop call endSetup, which waits for goroutines of the ICE agent: who does a round in a hurry must
// not.
func (s *Session) endSetupSoon() {
	s.agentEnd = time.Time{}
	if s.at != nil {
		s.post(func(time.Time) { s.endSetup() })
	}
}

// dropSetup ends the setup in hand, if any.
func (s *Session) dropSetup() {
	if s.at == nil {
		return
	}
	s.e.unexpect(s.at.id, s)
	if s.at.dial != nil {
		s.e.direct.done(s.at.dial.random)
	}
	s.at.close()
}

var errCanceled = errors.New("peer: dial cancelled")
