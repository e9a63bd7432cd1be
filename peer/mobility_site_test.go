// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A host moves to a site of another kind. Both ends leave the old path at once, whatever it takes to find the best new one.
func TestMovesElsewhere(t *testing.T) {
	home := peertest.Site{NAT: peertest.PortRestricted}
	dual := peertest.Site{NAT: peertest.PortRestricted, IPv6: peertest.DualStack, Firewall: true}
	hard := peertest.Site{NAT: peertest.Symmetric}
	for name, test := range map[string]struct {
		cfg      peertest.Config
		from, to peertest.Site
		peer     peertest.Site
		most     time.Duration
		direct   time.Duration // after which both are direct; zero: they need not be
	}{
		"another home":                 {from: home, to: home, peer: home, most: 300 * time.Millisecond, direct: 200 * time.Millisecond},
		"random ports":                 {from: home, to: peertest.Site{NAT: peertest.SymmetricRandom}, peer: home, most: 300 * time.Millisecond},
		"a hard NAT":                   {from: home, to: hard, peer: home, most: 300 * time.Millisecond, direct: 2 * time.Second},
		"one hard NAT after the other": {from: hard, to: hard, peer: hard, most: 300 * time.Millisecond, direct: 2 * time.Second},
		"random ports to a home": {
			from: peertest.Site{NAT: peertest.SymmetricRandom}, to: home, peer: home,
			most: 300 * time.Millisecond, direct: 500 * time.Millisecond,
		},
		"no UDP": {
			cfg: peertest.Config{RelayTCP: true}, from: home, peer: home, most: time.Second,
			to: peertest.Site{NAT: peertest.PortRestricted, BlockUDP: true},
		},
		"no UDP to a home": {
			cfg: peertest.Config{RelayTCP: true}, to: home, peer: home, most: 300 * time.Millisecond, direct: 500 * time.Millisecond,
			from: peertest.Site{NAT: peertest.PortRestricted, BlockUDP: true},
		},
		"IPv6 only": {
			cfg: peertest.Config{IPv6: true}, from: dual, peer: dual, most: 300 * time.Millisecond, direct: 500 * time.Millisecond,
			to: peertest.Site{IPv6: peertest.OnlyIPv6, Firewall: true},
		},
		"IPv4 only": {
			cfg: peertest.Config{IPv6: true}, from: dual, peer: dual, to: home, most: 300 * time.Millisecond, direct: 500 * time.Millisecond,
		},
		"two relays": {
			cfg: peertest.Config{IPv6: true, Relays: 2}, from: dual, peer: dual, to: dual, most: 300 * time.Millisecond, direct: 500 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachPhase(t, func(t *testing.T, mover int, seed uint64) {
				c := test.cfg
				c.Seed, c.Jitter = seed, time.Millisecond
				r := newMobilityRigAt(t, &c, [2]peertest.Site{test.from, test.peer}, mover)
				r.phase(seed)
				start := time.Now()
				r.hosts[0].MoveToSite(test.to)
				if test.direct > 0 {
					r.wantDirectFor(start, test.direct)
				}
				time.Sleep(4 * time.Second)
				r.wantGap(start, test.most)
				r.wantEventsInOrder(0)
				r.wantEventsInOrder(1)
				r.finish()
			})
		})
	}
}

// eachPhase runs a test for both roles of the host that moves, and at different moments of what goes on.
func eachPhase(t *testing.T, f func(t *testing.T, mover int, seed uint64)) {
	n := uint64(3)
	if testing.Short() {
		n = 1
	}
	eachRole(t, func(t *testing.T, mover int) { f(t, mover, 0) })
	for seed := uint64(1); seed < n; seed++ {
		t.Run(fmt.Sprint("phase ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { f(t, int(seed%2), seed) })
		})
	}
}

// phase lets so much time pass that what comes meets the session in another state.
func (r *mobilityRig) phase(seed uint64) {
	time.Sleep(time.Duration(seed)*1733*time.Millisecond + time.Duration(seed*7919%20000)*time.Microsecond)
}

// wantGap checks for how long nothing arrived since start.
func (r *mobilityRig) wantGap(start time.Time, most time.Duration) {
	r.t.Helper()
	if gap := r.worst(start); gap > most {
		r.t.Errorf("nothing arrived for %v, want at most %v", gap, most)
	}
	r.t.Logf("gaps: %v from the mover, %v to it", r.gap(0, start), r.gap(1, start))
}

// wantDirectFor waits until a while after start, and checks that both ends send directly from then on.
func (r *mobilityRig) wantDirectFor(start time.Time, after time.Duration) {
	r.t.Helper()
	time.Sleep(time.Until(start.Add(after)))
	for at := after; at < after+4*time.Second; at += 500 * time.Millisecond {
		for i := range r.ends {
			if p := r.path(i); p.Kind != mobility.Direct {
				r.t.Fatalf("%v after the move end %d sends by %+v, want a direct path", at, i, p)
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// wantEventsInOrder checks that an end was told of everything once and in order: each path change leads on from the last, and
// stalls and their ends alternate. What ends a stall has come before its end is told.
func (r *mobilityRig) wantEventsInOrder(end int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var path *peer.Path
	stalled := false
	for i, ev := range r.events[end] {
		switch e := ev.(type) {
		case peer.PathChanged:
			if path != nil && (e.From.Kind != path.Kind || e.From.Remote != path.Remote) {
				r.t.Errorf("end %d: event %d leads on from %+v, the path was %+v", end, i, e.From, *path)
			}
			path = &e.To
		case peer.Stalled:
			if stalled {
				r.t.Errorf("end %d: event %d tells of a stall in a stall", end, i)
			}
			stalled = true
		case peer.Resumed:
			if !stalled {
				r.t.Errorf("end %d: event %d tells of the end of no stall", end, i)
			}
			if path != nil && (e.Path.Kind != path.Kind || e.Path.Remote != path.Remote) {
				r.t.Errorf("end %d: event %d says %+v, the path was %+v", end, i, e.Path, *path)
			}
			stalled, path = false, &e.Path
		}
	}
	if stalled {
		r.t.Errorf("end %d has been told of a stall and not of its end", end)
	}
}
