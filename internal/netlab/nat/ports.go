// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package nat

import (
	"net/netip"
	"time"
)

const (
	lowest    = 1024
	ports     = 1<<16 - lowest
	firstPort = 0xC000
	bootShift = 4099 // prime to ports: a restarted NAT uses other ports than before
)

// wrap brings the n-th port, counted from the lowest, into the range.
func wrap(n uint64) uint16 { return uint16(lowest + n%ports) }

// allocate returns a free outside endpoint for the inside one.
func (n *NAT) allocate(now time.Time, inside netip.AddrPort) (netip.AddrPort, bool) {
	if n.firewall {
		return inside, true
	}
	free := func(port uint16) (netip.AddrPort, bool) {
		a := netip.AddrPortFrom(n.addr, port)
		return a, n.byOutside[a] == nil
	}
	switch n.cfg.Ports {
	case Random:
		// The table is never more than about a quarter full, so that a hundred misses in a row do not happen.
		for range 100 {
			if a, ok := free(wrap(n.rng.Uint64N(ports))); ok {
				return a, true
			}
		}
	case Preserving:
		if a, ok := free(inside.Port()); ok {
			return a, true
		}
		for i := range uint64(ports) {
			if a, ok := free(wrap(uint64(max(inside.Port(), lowest)) - lowest + 1 + i)); ok {
				return a, true
			}
		}
	default:
		n.others(now)
		for range ports {
			port := n.next
			n.next = wrap(uint64(port) - lowest + uint64(n.cfg.Step))
			if a, ok := free(port); ok {
				return a, true
			}
		}
	}
	return netip.AddrPort{}, false
}

// others lets other hosts use up ports until now.
func (n *NAT) others(now time.Time) {
	if n.cfg.Background == 0 {
		return
	}
	wait := func() time.Duration {
		return time.Duration(n.rng.ExpFloat64() / n.cfg.Background * float64(time.Second))
	}
	if n.arrival.IsZero() {
		n.arrival = now.Add(wait())
	}
	for range ports { // more than once around tells nobody anything
		if n.arrival.After(now) {
			return
		}
		n.next = wrap(uint64(n.next) - lowest + uint64(n.cfg.Step))
		n.arrival = n.arrival.Add(wait())
	}
	n.arrival = now.Add(wait())
}
