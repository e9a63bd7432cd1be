// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"testing"
	"time"
)

// TestRandomWalk lets two ends wander about: they move, rebind, lose their network and get it back, alone and
// together, with 2 % loss throughout. In the end both are on a path that works both ways.
func TestRandomWalk(t *testing.T) {
	for seed := range seeds(1000) {
		l := directLab(t, seed)
		l.a.talk(100 * ms1)
		l.b.talk(100 * ms1)
		l.loss = 0.02
		port := 100
		for range 8 {
			e := l.a
			if l.rng.IntN(2) == 0 {
				e = l.b
			}
			to := fmt.Sprintf("203.0.113.%d:%d", 100+l.rng.IntN(50), port)
			if e == l.a {
				to = fmt.Sprintf("192.0.2.%d:%d", 100+l.rng.IntN(50), port)
			}
			port++
			switch l.rng.IntN(6) {
			case 0, 1:
				e.move(to, time.Duration(l.rng.IntN(2000))*ms1, 80*ms1)
			case 2: // nobody is told, except by packets
				e.socket = addr(to)
				e.tellPeer(2 * time.Second) // what STUN finds out in time
			case 3:
				l.blocked = blockAll
				l.after(time.Duration(l.rng.IntN(8000))*ms1, func() { l.blocked = nil })
			case 4:
				l.blocked = blockDirect
				l.after(time.Duration(l.rng.IntN(4000))*ms1, func() { l.blocked = nil })
			case 5:
				e.m.HandleLocalChange(l.now, "nothing has changed")
				e.drain()
			}
			l.run(time.Duration(l.rng.IntN(4000)) * ms1)
		}
		l.run(10 * time.Second)
		l.blocked = nil
		for _, e := range []*end{l.a, l.b} { // signaling has told both in the end
			e.tellPeer(80 * ms1)
		}
		l.run(30 * time.Second)
		l.loss = 0
		l.run(5 * time.Second)
		l.resetGaps()
		l.run(3 * time.Second)
		for _, e := range []*end{l.a, l.b} {
			p := e.m.Current()
			if !p.Validated || e.m.Outage() || p.Kind != Direct || e.gap > 200*ms1 {
				l.dump()
				t.Fatalf("seed %d: %s is on the %v (validated %v, outage %v), without data for %v", seed, e.name, p, p.Validated, e.m.Outage(), e.gap)
			}
		}
		limit := uint64(l.now.Sub(epoch)/probeEvery) + probeBurst
		if n := l.a.m.Stats().Challenges; n > limit {
			t.Fatalf("seed %d: %d challenges, limit %d", seed, n, limit)
		}
	}
}
