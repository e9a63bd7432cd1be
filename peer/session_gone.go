// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// How often peers are told that a session of theirs is gone: anybody can ask, and each answer is signed and sealed. A
// rendezvous lets no more than 30 messages a second through to one peer.
const (
	goneEvery = time.Second / 32
	goneBurst = 64
)

// sayGone answers a move about a session that does not live here any more: this process has been restarted, or has given
// the session up. Otherwise the peer would wait for Config.Linger.
func (e *Endpoint) sayGone(to ID, move *signaling.Message) {
	if e.cfg.Signaler == nil || to == e.id {
		return
	}
	now := time.Now()
	e.mu.Lock()
	due := e.gone.Allow(now, goneEvery, goneBurst)
	e.mu.Unlock()
	if !due {
		return // the question has been counted
	}
	payload, err := signaling.Seal(e.cfg.Key, to, &signaling.Message{
		Kind: signaling.KindGone, Attempt: move.Attempt, Time: e.stamp(now),
		Session: move.PeerSession, PeerSession: move.Session,
	})
	if err != nil {
		e.log.Error("gone not sealed", slog.Any("err", err))
		return
	}
	e.signalAfter(nil, to, payload)
}

// handleGone takes note that from, who has signed it, does not have a session any more.
func (e *Endpoint) handleGone(from ID, m *signaling.Message) {
	s := e.route(m.PeerSession)
	if s == nil || s.id != from {
		e.drop(dropBadSignal)
		return
	}
	if e.fresh(m) {
		s.tell(func(now time.Time) { s.handleGone(now, m.Session, attemptID(m.Attempt)) })
	}
}

// handleGone ends the session because the peer no longer has it. It counts as an answer to a move, and only if nothing has
// been heard since that was sent: a session that lives is not ended by what another process says under the same key.
func (s *Session) handleGone(now time.Time, peers wire.SessionID, attempt attemptID) {
	asked := s.moves.sentAt
	if s.phase != phaseReady && s.phase != phaseClosing || peers != s.remote || attempt != s.attempt ||
		asked.IsZero() || s.lastHeard.After(asked) {
		s.e.drop(dropBadSignal)
		return
	}
	if s.phase == phaseClosing { // there is nobody left to acknowledge it, and everything was delivered
		s.end(now, &CloseError{Code: s.closeAt.code}, false)
		return
	}
	s.end(now, &CloseError{Code: CodeForgotten, Remote: true}, false)
}
