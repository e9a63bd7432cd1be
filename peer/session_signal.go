// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	signalTimeout = 10 * time.Second
	maxOutbox     = 16
)

// signal puts a message in line to the peer. Messages of a session go one after the other, so that no candidate
// overtakes the offer it belongs to.
func (s *Session) signal(m outgoing) {
	if len(s.outbox) >= maxOutbox {
		s.counts.unsignaled++
		return
	}
	s.outbox = append(s.outbox, m)
	s.signalNext()
}

func (s *Session) signalNext() {
	if s.sending || len(s.outbox) == 0 {
		return
	}
	m := s.outbox[0]
	s.outbox = s.outbox[1:]
	s.sending = true
	sent := make(chan struct{})
	s.lastSent = sent
	s.e.wg.Go(func() {
		defer close(sent)
		ctx, cancel := context.WithTimeout(s.e.ctx, signalTimeout)
		defer cancel()
		err := s.e.cfg.Signaler.Send(ctx, s.id, m.payload)
		s.post(func(now time.Time) {
			s.sending = false
			s.signaled(now, m, err)
			s.signalNext()
		})
	})
}

// signaled takes the signaling plane's verdict on a message.
func (s *Session) signaled(now time.Time, m outgoing, err error) {
	if err == nil {
		if m.kind == signaling.KindOffer && s.phase == phaseSetup && s.stage == StageSignaling {
			s.mark("delivered", now)
		}
		return
	}
	if m.kind == signaling.KindMove && s.phase == phaseReady && s.mob.Outage() && s.moves.signalAt.IsZero() {
		s.moves.signalAt = now.Add(announceMax) // it is all there is
	}
	s.log.Debug("signaling failed", slog.String("kind", m.kind.String()), slog.Any("err", err))
	if m.kind == signaling.KindOffer && s.phase == phaseSetup && s.at != nil && !s.at.haveSID &&
		errors.Is(err, signaling.ErrNotFound) && !s.notFoundYet(now) {
		s.failSetup(now, ErrNotFound)
	}
}

// An outgoing is a sealed signaling message in line to be sent.
type outgoing struct {
	payload []byte
	kind    signaling.Kind
}
