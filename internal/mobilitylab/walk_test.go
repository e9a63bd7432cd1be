// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// TestWalks has both hosts change their networks at random, while relays and rendezvous come and go and two packets of a
// hundred are lost. At the end every message has been delivered once, no error was seen, and the session works both ways
// by paths that answer.
func TestWalks(t *testing.T) {
	n := seeds(10) // of two roles
	if *runs > 0 {
		n *= 20
	}
	var failed atomic.Int64
	t.Run("", func(t *testing.T) {
		for part := range uint64(4) { // in parallel
			t.Run("", func(t *testing.T) {
				t.Parallel()
				s := setup{sites: homes, net: peertest.Config{Relays: 2}, loss: 0.02, light: true, settle: 4 * time.Second}
				for seed := *first + part; seed < *first+uint64(n); seed += 4 {
					if !run(t, s, int(seed/4%2), seed, walk) {
						failed.Add(1)
					}
				}
			})
		}
	})
	add("Others", 0, "random walks that end with every message delivered once", "all", fmt.Sprintf("%d of %d", n-int(failed.Load()), n))
}

// walk changes the network at random for a while, and checks the session after it.
func walk(r *rig) {
	var wg sync.WaitGroup
	for i, h := range r.hosts {
		rnd := rand.New(rand.NewPCG(r.seed, uint64(i)+10))
		wg.Go(func() {
			for range 2 + rnd.IntN(5) {
				nap(rnd, 6*time.Second)
				step(h, rnd)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(r.seed, 20))
	wg.Go(func() {
		for range rnd.IntN(3) {
			nap(rnd, 10*time.Second)
			switch rnd.IntN(4) {
			case 0, 1:
				r.net.Hub().SetDown(true)
				nap(rnd, 10*time.Second)
				r.net.Hub().SetDown(false)
			case 2:
				relay := r.net.RelayHost(0)
				relay.SetDown(true)
				nap(rnd, 20*time.Second)
				relay.SetDown(false)
			case 3:
				r.net.KillRelay(1)
				return
			}
		}
	})
	wg.Wait()
	time.Sleep(20 * time.Second)
	start := time.Now()
	time.Sleep(2 * time.Second)
	if g := r.gaps(start, time.Now()); max(g[0], g[1]) > time.Second {
		r.t.Errorf("when all is over nothing arrived for %v", g)
	}
	for i, s := range r.ends {
		if p := r.path(i); p.RTT <= 0 || p.RTT > 400*ms {
			r.t.Errorf("when all is over, end %d sends by %+v, want a path that has answered", i, p)
		}
		if s.Err() != nil {
			r.t.Errorf("end %d: %v", i, s.Err())
		}
	}
	r.finish()
}

func nap(rnd *rand.Rand, most time.Duration) { time.Sleep(time.Duration(rnd.Int64N(int64(most)))) }

// step changes the network of one host.
func step(h *peertest.Host, rnd *rand.Rand) {
	kinds := []peertest.NAT{peertest.Public, peertest.FullCone, peertest.PortRestricted, peertest.Symmetric, peertest.SymmetricRandom}
	switch rnd.IntN(7) {
	case 0:
		h.Rebind()
	case 1:
		h.Renumber()
	case 2:
		h.MoveTo(kinds[rnd.IntN(len(kinds))])
	case 3:
		h.Detach()
		nap(rnd, 20*time.Second)
		h.Attach()
	case 4:
		h.Detach()
		nap(rnd, 3*time.Second)
		h.MoveTo(kinds[rnd.IntN(len(kinds))])
	case 5:
		h.SetOffline(true)
		nap(rnd, 20*time.Second)
		h.SetOffline(false)
	case 6:
		a := h.AddUplink(home)
		nap(rnd, 2*time.Second)
		old := h.LocalAddrs()[0]
		h.SetUplink(a)
		nap(rnd, 2*time.Second)
		h.RemoveUplink(old)
	}
}
