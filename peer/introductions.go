// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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

// patience is how long a peer that has made an offer may be silent before its place is given to another.
const patience = 2 * time.Second

// fullLocked says whether no more peers may establish a session now. If so, the one that has done nothing but make an
// offer for the longest time makes room. e.mu is held.
func (e *Endpoint) fullLocked() bool {
	if len(e.sessions) >= e.cfg.MaxSessions {
		return true
	}
	if e.inbound < e.cfg.MaxHandshakes {
		return false
	}
	var oldest *Session
	for s := range e.sessions {
		if s.inbound && (oldest == nil || s.born.Before(oldest.born)) {
			oldest = s
		}
	}
	if oldest != nil && time.Since(oldest.born) > patience {
		oldest.tell(func(now time.Time) {
			if oldest.stage == StagePath {
				oldest.failSetup(now, ErrUnreachable)
			}
		})
	}
	return true
}

// A decision is an offer that Config.Authorize is being asked about. A newer offer of the same peer takes its place.
type decision struct {
	m      *signaling.Message
	direct *directAnswer
	old    *Session
}

// welcome starts a session that a peer has asked for, if it is authorised. old is the peer's present session, if
// any; it goes on until the new one is established. At any time a peer has one offer under consideration and one
// session that is being established in place of another, however many it asks for.
func (e *Endpoint) welcome(from ID, m *signaling.Message, direct *directAnswer, old *Session) {
	e.mu.Lock()
	if d := e.deciding[from]; d != nil {
		*d = decision{m, direct, old}
		e.mu.Unlock()
		return
	}
	if n := e.next[from]; n != nil && n != old {
		n.post(func(now time.Time) { n.handleOffer(now, m, direct) })
		e.mu.Unlock()
		return
	}
	if e.closed || e.fullLocked() {
		e.mu.Unlock()
		e.drop(dropTooMany)
		return
	}
	e.inbound++
	if e.cfg.Authorize == nil {
		e.admitLocked(from, decision{m, direct, old})
		e.mu.Unlock()
		return
	}
	e.deciding[from] = &decision{m, direct, old}
	e.mu.Unlock()
	e.wg.Go(func() { e.decide(from) })
}

// decide asks Config.Authorize about a peer.
func (e *Endpoint) decide(from ID) {
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.HandshakeTimeout)
	defer cancel()
	err := e.cfg.Authorize(ctx, from)
	e.mu.Lock()
	d := e.deciding[from]
	delete(e.deciding, from)
	if err == nil {
		e.admitLocked(from, *d)
		e.mu.Unlock()
		return
	}
	e.inbound--
	e.mu.Unlock()
	e.log.Info("peer refused", slog.String("peer", from.Short()), slog.Any("err", err))
	e.refuse(from, d.m, d.direct)
}

// admitLocked makes the session for an authorised offer; its place in e.inbound is taken already. e.mu is held.
func (e *Endpoint) admitLocked(from ID, d decision) {
	if e.closed {
		e.inbound--
		return
	}
	cur := e.peers[from]
	if cur != nil && cur != d.old { // dialled while Authorize was asked
		e.inbound--
		cur.post(func(now time.Time) { cur.handleOffer(now, d.m, d.direct) })
		return
	}
	s := e.newSession(from)
	s.inbound = true
	e.sessions[s] = struct{}{}
	if cur == nil {
		e.peers[from] = s
	} else {
		e.next[from] = s
	}
	s.post(func(now time.Time) { s.startAnswer(now, d.m, d.direct) })
	s.start()
}

// wantedByPeer notes that the peer has asked for a session that this side has dialled.
func (e *Endpoint) wantedByPeer(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !s.inbound {
		s.inbound = true
		e.inbound++
	}
}

// gaveUp says whether nobody waits for s any more.
func (e *Endpoint) gaveUp(s *Session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return s.abandoned
}

// wantedHere says whether this side has dialled s and still waits for it.
func (e *Endpoint) wantedHere(s *Session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !s.abandoned && (s.held || s.dialers > 0)
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

// candidatesChanged lets sessions that are being established tell their peers of new addresses.
func (e *Endpoint) candidatesChanged() {
	e.eachSession(func(s *Session) { s.post(s.candidatesChanged) })
}

// servicesLoop follows the signaling plane's advice of STUN servers and relays.
func (e *Endpoint) servicesLoop() {
	for {
		sv, err := e.cfg.Signaler.Services(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				e.log.Warn("no services advised", slog.Any("err", err))
				e.useServices(signaling.Services{})
			}
			return
		}
		e.useServices(sv)
		if sv.Expires.IsZero() {
			return
		}
		timer := time.NewTimer(max(time.Until(sv.Expires)*9/10, 5*time.Second))
		select {
		case <-timer.C:
		case <-e.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// useServices takes over advice, beside what the configuration names.
func (e *Endpoint) useServices(sv signaling.Services) {
	if !e.cfg.Policy.RelayOnly {
		e.stun.use(slices.Concat(e.cfg.STUN, sv.STUN)[:min(maxSTUN, len(e.cfg.STUN)+len(sv.STUN))])
	}
	e.relays.use(slices.Concat(e.cfg.Relays, sv.Relays))
}
