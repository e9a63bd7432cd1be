// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	pollEvery   = 150 * time.Millisecond // between requests while a session has no path and no server answers
	pollRarely  = time.Second            // and while one does: it is the peer that is away
	pollLife    = 2 * time.Second        // how long an answer is awaited
	glanceEvery = 90 * time.Millisecond  // between requests while a session doubts its path
	backAfter   = 500 * time.Millisecond // of silence, after which an answer means that the network is back
	backMissed  = 3                      // polls that must have been without an answer then
)

// networkChanged asks all servers at once. moved says that this host has other addresses than before: what the servers
// said of the old ones is void.
func (r *reflexive) networkChanged(moved bool) {
	if moved {
		r.mu.Lock()
		clear(r.mapped)
		r.mu.Unlock()
	}
	r.askAll()
}

// poll asks one server, the next each time, once. A session that has no path polls, so that the return of the network
// is noticed whether or not the operating system knows of it.
func (r *reflexive) poll(now time.Time) {
	r.mu.Lock()
	if r.silent.IsZero() {
		r.silent, r.answered, r.missed = now, false, 0
	}
	r.missed++
	r.mu.Unlock()
	r.askOne(now)
}

// pollWait is how long after a poll the next one is due.
func (r *reflexive) pollWait(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.silent.IsZero() && r.answered && now.Sub(r.silent) < pollRarely+pollEvery {
		return pollRarely
	}
	return pollEvery
}

// glance asks one server, once, because a session doubts its path: the NAT may have forgotten us, which the answer shows
// sooner than the path does. It does so at most every glanceEvery.
func (r *reflexive) glance(now time.Time) {
	r.mu.Lock()
	early := now.Sub(r.glanced) < glanceEvery
	if !early {
		r.glanced = now
	}
	r.mu.Unlock()
	if !early {
		r.askOne(now)
	}
}

// askOne asks the next server, once.
func (r *reflexive) askOne(now time.Time) {
	r.mu.Lock()
	for tx, q := range r.pending {
		if q.done == nil && now.After(q.until) {
			delete(r.pending, tx)
		}
	}
	if len(r.known) == 0 {
		r.mu.Unlock()
		return
	}
	server := r.nextLocked()
	r.heed[server].waiting = true
	tx, msg := stunx.NewBinding()
	r.pending[tx] = stunQuery{server: server, until: now.Add(pollLife)}
	r.mu.Unlock()
	r.e.relays.sentTo(server)
	_ = r.e.writeDirect(msg, server)
}

// nextLocked returns whom to ask: mostly one that has answered, if there is one, so that others which never do are not taken
// for silence. r.mu is held.
func (r *reflexive) nextLocked() netip.AddrPort {
	r.polled++
	for i := range r.known {
		server := r.known[(r.polled+i)%len(r.known)]
		if r.polled%4 != 0 && !r.heed[server].waiting && r.mapped[server].IsValid() {
			return server
		}
	}
	r.turn++
	return r.known[r.turn%len(r.known)]
}

// rest ends polling.
func (r *reflexive) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = time.Time{}
}
