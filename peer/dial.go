// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// A Target names a peer to dial, and where it may be found.
type Target struct {
	ID ID

	// Addrs are UDP addresses at which the peer is known to listen. If there are any, the peer is dialled there and
	// no rendezvous is asked, so that a public listener is reached with nothing but its ID and its address.
	Addrs []netip.AddrPort
}

// Dial establishes a session with the peer named id, through the rendezvous or on the local network ([Config].LAN), or
// returns the one that exists. It returns when the peer has proven its identity. ctx bounds the wait; the session outlives it.
//
// If both peers dial at the same time there is still one session, and both calls return it. An error is a
// [*DialError], except that ctx's own error is returned as it is.
func (e *Endpoint) Dial(ctx context.Context, id ID) (*Session, error) {
	return e.DialTarget(ctx, Target{ID: id})
}

// DialTarget is Dial for a peer whose addresses are known.
func (e *Endpoint) DialTarget(ctx context.Context, t Target) (*Session, error) {
	s, err := e.connect(t, false)
	if err != nil {
		return nil, err
	}
	err = s.Ready(ctx)
	if err != nil && errors.Is(err, ctx.Err()) && s.isReady() {
		err = nil // both at once
	}
	e.dialled(s, err != nil)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// DialEarly starts to establish a session and returns it at once. Flows may be opened on it and messages sent,
// which travel with the first packet that can carry them, one round trip before [Session.Ready] would let them go.
// They are readable by nobody but the holder of the peer's key.
func (e *Endpoint) DialEarly(t Target) (*Session, error) { return e.connect(t, true) }

// connect returns the session with a peer, and starts to establish one if there is none.
func (e *Endpoint) connect(t Target, hold bool) (*Session, error) {
	fail := func(err error) error { return &DialError{ID: t.ID, Stage: StageSignaling, Err: err} }
	if t.ID == e.id {
		return nil, fail(errors.New("peer: an endpoint cannot dial itself"))
	}
	if t.ID.IsZero() {
		return nil, fail(errors.New("peer: no peer ID"))
	}
	policy := e.addressPolicy(t.ID)
	if len(t.Addrs) > 0 {
		if t.Addrs = e.dialableAddrs(policy, t.Addrs); len(t.Addrs) == 0 {
			return nil, fail(ErrAddressPolicy)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fail(errEndpointClosed)
	}
	s := e.peers[t.ID]
	if s == nil {
		if e.cfg.Signaler == nil && len(t.Addrs) == 0 && !e.seeks(policy) {
			return nil, fail(ErrNoSignaler)
		}
		if len(e.sessions) >= e.cfg.MaxSessions {
			return nil, fail(errors.New("peer: too many sessions"))
		}
		s = e.newSession(t.ID, true, policy)
		e.peers[t.ID] = s
		e.sessions[s] = struct{}{}
		var direct *directDial
		if len(t.Addrs) > 0 || e.cfg.Signaler == nil {
			direct = newDirectDial(t)
		}
		s.post(func(now time.Time) { s.startOffer(now, direct) })
		s.start()
	}
	if hold {
		s.held = true
	} else {
		s.dialers++
	}
	return s, nil
}

// dialled ends one dialler's interest in s. When nobody is interested any more, establishing s is given up.
func (e *Endpoint) dialled(s *Session, gaveUp bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !gaveUp {
		s.held = true
	}
	s.dialers--
	if s.dialers > 0 || s.held || s.inbound {
		return
	}
	s.abandoned = true
	e.retireLocked(s) // the next dial starts afresh
	s.post(func(now time.Time) { s.abort(now, &CloseError{Code: CodeCanceled}) })
}
