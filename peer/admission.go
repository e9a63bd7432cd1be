// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

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
	var policy AddressPolicy
	if e.cfg.Authorize == nil {
		policy = e.addressPolicy(from)
	}
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
		e.admitLocked(from, decision{m, direct, old}, policy)
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
	var policy AddressPolicy
	if err == nil {
		policy = e.addressPolicy(from)
	}
	e.mu.Lock()
	d := e.deciding[from]
	delete(e.deciding, from)
	if err == nil {
		e.admitLocked(from, *d, policy)
		e.mu.Unlock()
		return
	}
	e.inbound--
	e.mu.Unlock()
	e.log.Info("peer refused", slog.String("peer", from.Short()), slog.Any("err", err))
	e.refuse(from, d.m, d.direct)
}

// admitLocked makes the session for an authorised offer; its place in e.inbound is taken already. e.mu is held.
func (e *Endpoint) admitLocked(from ID, d decision, policy AddressPolicy) {
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
	s := e.newSession(from, false, policy)
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
