// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

// signalLoop takes what arrives by the rendezvous.
func (e *Endpoint) signalLoop() {
	for {
		env, err := e.cfg.Signaler.Recv(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil {
				e.log.Warn("signaling ended", slog.Any("err", err))
			}
			return
		}
		from, m, err := signaling.Open(e.cfg.Key, env.Payload)
		if err != nil || (!env.From.IsZero() && env.From != from) {
			e.drop(dropBadSignal)
			e.log.Debug("signaling message dropped", slog.Any("err", err))
			continue
		}
		e.handleSignal(from, m)
	}
}

// handleSignal takes a message whose signature by from has been verified.
func (e *Endpoint) handleSignal(from ID, m *signaling.Message) {
	if m.Kind == signaling.KindOffer {
		e.handleOffer(from, m, nil)
		return
	}
	if m.Kind == signaling.KindMove {
		e.handleMove(from, m)
		return
	}
	if m.Kind == signaling.KindGone {
		e.handleGone(from, m)
		return
	}
	if !e.fresh(m) {
		return
	}
	e.mu.Lock()
	s := e.attempts[attemptID(m.Attempt)]
	if s == nil && m.Kind == signaling.KindCandidates {
		e.early.add(time.Now(), from, m)
	}
	e.mu.Unlock()
	if s == nil || s.id != from {
		e.drop(dropBadSignal)
		return
	}
	switch m.Kind {
	case signaling.KindAnswer:
		s.tell(func(now time.Time) { s.handleAnswer(now, m) })
	case signaling.KindCandidates:
		s.tell(func(now time.Time) { s.handleCandidates(now, m) })
	case signaling.KindBye:
		s.tell(func(now time.Time) { s.handleBye(now, m) })
	default:
		e.drop(dropBadSignal)
	}
}

// fresh says whether m is new, and remembers it.
func (e *Endpoint) fresh(m *signaling.Message) bool {
	e.replayMu.Lock()
	err := e.replay.Check(time.Now(), m)
	e.replayMu.Unlock()
	if err != nil {
		e.drop(dropBadSignal)
		e.log.Debug("signaling message dropped", slog.Any("err", err))
	}
	return err == nil
}

// handleOffer takes an offer that from has signed. direct is how to answer one that came with no rendezvous.
func (e *Endpoint) handleOffer(from ID, m *signaling.Message, direct *directAnswer) {
	if from == e.id {
		e.drop(dropBadSignal)
		return
	}
	e.mu.Lock()
	s := e.attempts[attemptID(m.Attempt)]
	if s == nil || s.id != from {
		s = e.peers[from]
		full := e.fullLocked()
		e.mu.Unlock()
		if full { // before it is remembered: when it comes again there may be room
			e.drop(dropTooMany)
			return
		}
		if !e.fresh(m) {
			return
		}
	} else {
		e.mu.Unlock()
	}
	if s == nil || !s.tell(func(now time.Time) { s.handleOffer(now, m, direct) }) {
		e.welcome(from, m, direct, s)
	}
}

// succeed starts the session that a peer asks for in place of old.
func (e *Endpoint) succeed(old *Session, m *signaling.Message, direct *directAnswer) {
	e.welcome(old.id, m, direct, old)
}

// refuse tells a peer that it is not authorised.
func (e *Endpoint) refuse(to ID, offer *signaling.Message, direct *directAnswer) {
	m := &signaling.Message{
		Kind: signaling.KindBye, ID: offer.ID, Attempt: offer.Attempt, Time: e.stamp(time.Now()), Code: uint64(CodeRefused),
	}
	payload, err := signaling.Seal(e.cfg.Key, to, m)
	if err != nil {
		return
	}
	if direct != nil {
		direct.send(payload)
		return
	}
	e.signalAfter(nil, to, payload)
}

// signalAfter sends a message that nothing depends on, when another has been sent.
func (e *Endpoint) signalAfter(other <-chan struct{}, to ID, payload []byte) {
	e.wg.Go(func() {
		if other != nil {
			<-other // ends with the endpoint at the latest
		}
		ctx, cancel := context.WithTimeout(e.ctx, signalTimeout)
		defer cancel()
		_ = e.cfg.Signaler.Send(ctx, to, payload)
	})
}

// established takes note that s is ready: it becomes the session of its peer, supersedes an older one, and goes to
// Accept unless this side has dialled it.
func (e *Endpoint) established(s *Session) {
	e.mu.Lock()
	if s.inbound {
		s.inbound = false
		e.inbound--
	}
	if s.abandoned {
		e.mu.Unlock()
		return
	}
	if e.next[s.id] == s {
		delete(e.next, s.id)
	}
	old := e.peers[s.id]
	e.peers[s.id] = s
	ours := s.held || s.dialers > 0
	e.mu.Unlock()
	if old != nil && old != s {
		old.post(func(now time.Time) { old.end(now, &CloseError{Code: CodeSuperseded, Remote: true}, false) })
	}
	if ours {
		return
	}
	if !e.offerAccept(s) {
		s.post(func(now time.Time) {
			s.end(now, &CloseError{Code: CodeRefused, Reason: "too many sessions wait"}, true)
		})
	}
}

// retire takes s from among the live sessions: the next dial starts another, or joins the one that was being
// established in its place.
func (e *Endpoint) retire(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retireLocked(s)
}

// abandon is retire for a session that is to end although it may be established at this moment.
func (e *Endpoint) abandon(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.abandoned = true
	e.retireLocked(s)
}

func (e *Endpoint) retireLocked(s *Session) {
	if e.next[s.id] == s {
		delete(e.next, s.id)
	}
	if e.peers[s.id] == s {
		delete(e.peers, s.id)
		if n := e.next[s.id]; n != nil {
			e.peers[s.id] = n
			delete(e.next, s.id)
		}
	}
	if s.inbound {
		s.inbound = false
		e.inbound--
	}
}

// forget drops a session whose loop has ended.
func (e *Endpoint) forget(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
}

// expect routes the signaling messages of a try to s; unexpect ends that.
func (e *Endpoint) expect(id attemptID, s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.attempts[id] = s
	for _, m := range e.early.take(time.Now(), id, s.id) {
		s.post(func(now time.Time) { s.handleCandidates(now, m) })
	}
}

func (e *Endpoint) unexpect(id attemptID, s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.attempts[id] == s {
		delete(e.attempts, id)
	}
}

// eachSession calls f for every session that has a loop.
func (e *Endpoint) eachSession(f func(*Session)) {
	e.mu.Lock()
	all := make([]*Session, 0, len(e.sessions))
	for s := range e.sessions {
		all = append(all, s)
	}
	e.mu.Unlock()
	for _, s := range all {
		f(s)
	}
}

// candidatesChanged lets sessions tell their peers of new addresses.
func (e *Endpoint) candidatesChanged() {
	e.eachSession(func(s *Session) { s.post(s.candidatesChanged) })
}
