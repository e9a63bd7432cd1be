// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// maxGuests bounds the addresses that are let in on account of one peer within stayOfGuests, whatever it says and however
	// often it dials. A relay keeps 256 for an allocation, which serves all sessions.
	maxGuests = 24

	// stayOfGuests is how long a relay lets an address in after it has been asked to: nothing takes that back (RFC 8656 §9).
	stayOfGuests = 5 * time.Minute
)

// A guest is an address that a relay may have let in on account of a peer.
type guest struct {
	ip     netip.Addr
	wanted int       // by how many of the peer's sessions
	until  time.Time // if by none
}

// guests is who has been let in lately on whose account. It is guarded by relays.mu.
type guests struct {
	of    map[ID][]guest
	swept time.Time
}

// admit reports whether one more address may be let in on account of a peer.
func (g *guests) admit(now time.Time, id ID, ip netip.Addr) bool {
	if now.Sub(g.swept) > stayOfGuests {
		g.swept = now
		for id, list := range g.of {
			g.put(id, current(now, list))
		}
	}
	list := current(now, g.of[id])
	i := slices.IndexFunc(list, func(x guest) bool { return x.ip == ip })
	switch {
	case i >= 0:
		list[i].wanted++
	case len(list) < maxGuests:
		list = append(list, guest{ip: ip, wanted: 1})
	default:
		return false
	}
	g.put(id, list)
	return true
}

// leave says that one session of the peer wants an address no more.
func (g *guests) leave(now time.Time, id ID, ip netip.Addr) {
	list := g.of[id]
	if i := slices.IndexFunc(list, func(x guest) bool { return x.ip == ip }); i >= 0 {
		list[i].wanted--
		list[i].until = now.Add(stayOfGuests)
	}
}

func (g *guests) put(id ID, list []guest) {
	if len(list) == 0 {
		delete(g.of, id)
		return
	}
	g.of[id] = list
}

// current drops who is not wanted any more, and not let in.
func current(now time.Time, list []guest) []guest {
	return slices.DeleteFunc(list, func(x guest) bool { return x.wanted <= 0 && !now.Before(x.until) })
}

// permit lets ip, an address of a peer, send to us through every relay, until forbid has been called as often. It reports
// false if the peer has had enough of them.
func (r *relays) permit(id ID, ip netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock() // so that permissions change in the order they are wanted
	if !r.guests.admit(time.Now(), id, ip) {
		return false
	}
	r.wanted[ip]++
	for _, a := range r.byVia {
		if reaches(a, ip) {
			a.Permit(ip)
		}
	}
	return true
}

func (r *relays) forbid(id ID, ip netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guests.leave(time.Now(), id, ip)
	if r.wanted[ip]--; r.wanted[ip] > 0 {
		return
	}
	delete(r.wanted, ip)
	for _, a := range r.byVia {
		a.Forbid(ip)
	}
}
