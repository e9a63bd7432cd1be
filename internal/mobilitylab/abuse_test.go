// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// TestFlapping changes a host's uplink ten times a second for ten seconds. The peer follows at most once a second, and
// messages arrive all the same.
func TestFlapping(t *testing.T) {
	t.Parallel()
	for role := range roles {
		for seed := range uint64(seeds(2)) {
			run(t, setup{sites: [2]peertest.Site{home, open}}, role, *first+seed, func(r *rig) {
				first := r.hosts[0].LocalAddrs()[0]
				second := r.hosts[0].AddUplink(home)
				time.Sleep(3 * time.Second)
				before := r.ends[1].Stats().PathChanges
				start := time.Now()
				for i := range 100 {
					r.hosts[0].SetUplink([]netip.Addr{second, first}[i%2])
					time.Sleep(100 * ms)
				}
				if moved := r.ends[1].Stats().PathChanges - before; moved > 11 {
					r.t.Errorf("the peer moved %d times in ten seconds, want at most one a second", moved)
				}
				time.Sleep(watched)
				if g := r.gaps(start, time.Now()); max(g[0], g[1]) > 500*ms {
					r.t.Errorf("nothing arrived for %v", g)
				}
				r.finish()
			})
		}
	}
}

// TestSpoofing copies the packets of a session and sends them again from addresses that nobody has, before and after the
// real ones, and garbage besides. The session does not move, and to no such address more than three times what came from it
// is sent.
func TestSpoofing(t *testing.T) {
	t.Parallel()
	worst := 0.0
	for role := range roles {
		for seed := range uint64(seeds(2)) {
			for _, early := range []bool{true, false} {
				run(t, setup{sites: [2]peertest.Site{home, public}}, role, *first+seed, func(r *rig) {
					worst = max(worst, spoof(r, early))
				})
			}
		}
	}
	add("Others", 1, "bytes sent to an address that packets were replayed from, for each that came from it", "3", fmt.Sprintf("%.2f", worst))
}

// spoof replays packets from third addresses and returns the highest amplification of all of them.
func spoof(r *rig, early bool) float64 {
	var mu sync.Mutex
	got, sent := make(map[netip.AddrPort]int), make(map[netip.AddrPort]int)
	const thirds = 8
	third := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 250, 0, byte(i%thirds) + 1}), 4000)
	}
	count, exceeded := 0, false
	rnd := r.rand
	var passing []peertest.Packet // real ones that are held back
	remove := r.net.Tap(func(p peertest.Packet) peertest.Verdict {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := got[p.To]; ok {
			if sent[p.To] += len(p.Payload); sent[p.To] > 3*got[p.To] {
				exceeded = true
			}
			return peertest.Drop
		}
		if p.From.Addr() != r.hosts[0].Addr() || p.To.Addr() != r.hosts[1].Addr() || p.Payload[0] < 192 {
			return peertest.Pass
		}
		count++
		if count%5 != 0 && len(p.Payload) > 60 { // small ones are worth most
			return peertest.Pass
		}
		c := p.Clone()
		if rnd.IntN(4) == 0 {
			for i := range c.Payload[10:] {
				c.Payload[10+i] ^= byte(rnd.IntN(256))
			}
		}
		c.From = third(count)
		got[c.From] += len(c.Payload)
		if early {
			passing = append(passing, p.Clone())
			r.net.Inject(c)
			return peertest.Drop
		}
		time.AfterFunc(time.Duration(rnd.IntN(20))*ms, func() { r.net.Inject(c) })
		return peertest.Pass
	})
	if early {
		r.wg.Go(func() {
			for range 1000 { // what was held back follows 5 ms later
				time.Sleep(5 * ms)
				mu.Lock()
				held := slices.Clone(passing)
				passing = passing[:0]
				mu.Unlock()
				for _, p := range held {
					r.net.Inject(p)
				}
			}
		})
	}
	start := time.Now()
	path, moved := r.path(1), r.ends[1].Stats().PathChanges
	time.Sleep(4 * time.Second)
	remove()
	if p := r.path(1); p.Remote != path.Remote || r.ends[1].Stats().PathChanges != moved {
		r.t.Errorf("the session moved from %+v to %+v, %d times", path, p, r.ends[1].Stats().PathChanges-moved)
	}
	if g := r.gaps(start, time.Now()); max(g[0], g[1]) > 150*ms {
		r.t.Errorf("nothing arrived for %v", g)
	}
	time.Sleep(2 * time.Second)
	mu.Lock()
	worst, copies := 0.0, len(got)
	for a, n := range got {
		worst = max(worst, float64(sent[a])/float64(n))
	}
	mu.Unlock()
	if exceeded || copies == 0 {
		r.t.Errorf("%.2f bytes were sent for each that came from one of %d addresses, want at most 3 at any time", worst, copies)
	}
	for i := range r.eps {
		if st := r.ends[i].Stats(); i == 1 && (st.Replayed == 0 || st.Forged == 0) {
			r.t.Error("no packet was found to be replayed, or forged: the attack was none")
		}
	}
	r.finish()
	return worst
}
