// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/condition"
)

// A badLink is a place in the network that packets may have to pass: a site's way up to the core, its way down from it,
// or the way from one site to another in between.
type badLink struct {
	goOn func(transit) // where packets go from here

	mu   sync.Mutex
	bad  bool // there are conditions
	link condition.Link[transit]
}

// A transit is a packet between two places.
type transit struct {
	in   inbound
	to   *site
	left time.Time // when it left the last link that held it; zero: none did
}

// set changes the conditions. place tells the chance of one link from that of another.
func (l *badLink) set(n *Network, place uint64, s condition.Settings) {
	s.Seed += (n.cfg.Seed + place) * 0x9e3779b97f4a7c15
	l.mu.Lock()
	l.link.Set(time.Now(), s)
	l.bad = !s.IsZero()
	l.mu.Unlock()
	select {
	case n.wake <- struct{}{}: // what is held may be due at another time
	default:
	}
}

// SetConditions sets the conditions of the host's link: up is the way to the core, down the way from it. They come on
// top of OneWay, Jitter and Loss. Hosts behind the same NAT share the link. Packets under way keep their delay.
func (h *Host) SetConditions(up, down condition.Settings) {
	s := h.site().root()
	place := uint64(s.number) << 32
	s.up.set(h.net, place|1, up)
	s.down.set(h.net, place|2, down)
}

// SetConditions sets the conditions at the core for packets from one host, or its NAT, to another.
func (n *Network) SetConditions(from, to *Host, s condition.Settings) error {
	a, b := from.site().root(), to.site().root()
	if a.net != n || b.net != n || a == b {
		return fmt.Errorf("%w: no way through the core from site %d to site %d", ErrConfig, a.number, b.number)
	}
	key := flowKey{a.number, b.number}
	n.mu.Lock()
	l := n.between[key]
	if l == nil {
		l = &badLink{goOn: n.launch}
		if n.between == nil {
			n.between = make(map[flowKey]*badLink)
		}
		n.between[key] = l
	}
	n.mu.Unlock()
	l.set(n, uint64(key.from+1)<<32|uint64(key.to+1)<<8, s)
	return nil
}

// cross sends a packet from the core's edge to the core, and across it.
func (n *Network) cross(t transit) {
	l := (*badLink)(nil)
	if t.in.from != nil {
		n.mu.Lock()
		l = n.between[flowKey{t.in.from.number, t.to.number}]
		n.mu.Unlock()
	}
	if l == nil || !n.hold(l, t) {
		n.launch(t)
	}
}

// hold gives a packet to a link, and reports false if that does nothing to packets.
func (n *Network) hold(l *badLink, t transit) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.bad {
		return false
	}
	if !l.link.Push(time.Now(), t.in.packet.Payload, t) {
		n.stats.lost.Add(1)
	}
	if !slices.Contains(n.core.bad, l) {
		n.core.bad = append(n.core.bad, l)
	}
	return true
}

// release lets go on what links no longer hold.
func (n *Network) release(now time.Time) {
	for i := 0; i < len(n.core.bad); i++ { // links are added meanwhile
		l := n.core.bad[i]
		for {
			l.mu.Lock()
			b, t, ok := l.link.Pop(now)
			l.mu.Unlock()
			if !ok {
				break
			}
			t.in.packet.Payload, t.left = b, now
			l.goOn(t)
		}
	}
}

// holding returns when links will let something go, or zero if they hold nothing.
func (n *Network) holding() (next time.Time) {
	n.core.bad = slices.DeleteFunc(n.core.bad, func(l *badLink) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		at := l.link.Next()
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		return at.IsZero()
	})
	return next
}
