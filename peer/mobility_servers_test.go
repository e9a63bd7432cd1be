// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Two peers that only a relay connects, or a way that was hard to find, move like others.
func TestRelayedMoves(t *testing.T) {
	for name, nat := range map[string]peertest.NAT{"relayed": peertest.SymmetricRandom, "punched": peertest.Symmetric} {
		t.Run(name, func(t *testing.T) {
			eachPhase(t, func(t *testing.T, dialler int, seed uint64) {
				r := newMobilityRig(t, &peertest.Config{Jitter: time.Millisecond, Seed: seed}, [2]peertest.NAT{nat, nat}, dialler)
				if nat == peertest.SymmetricRandom {
					r.wantKind(mobility.Relayed)
				}
				r.phase(seed)
				start := time.Now()
				r.hosts[0].MoveTo(nat)
				time.Sleep(5 * time.Second)
				r.wantGap(start, 350*time.Millisecond)
				start = time.Now()
				r.hosts[0].MoveTo(nat)
				r.hosts[1].MoveTo(nat)
				time.Sleep(5 * time.Second)
				r.wantGap(start, 500*time.Millisecond)
				r.finish()
			})
		})
	}
}

// A move needs no rendezvous if either side can be reached.
func TestMoveWithoutRendezvous(t *testing.T) {
	for name, sites := range map[string][2]peertest.NAT{
		"public listener": {peertest.PortRestricted, peertest.Public},
		"homes":           homes,
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, dialler int) {
				r := newMobilityRig(t, nil, sites, dialler)
				r.net.Hub().SetDown(true)
				start := time.Now()
				r.hosts[0].MoveTo(peertest.PortRestricted)
				time.Sleep(5 * time.Second)
				if gap := r.worst(start); gap > 500*time.Millisecond {
					t.Errorf("nothing arrived for %v, want at most 500 ms", gap)
				}
				t.Logf("gaps: %v from the mover, %v to it", r.gap(0, start), r.gap(1, start))
				r.finish()
			})
		})
	}
}

// Of two relays the one in use dies.
func TestRelayDies(t *testing.T) {
	eachRole(t, func(t *testing.T, dialler int) {
		r := newMobilityRig(t, &peertest.Config{Relays: 2}, [2]peertest.NAT{peertest.SymmetricRandom, peertest.SymmetricRandom}, dialler)
		r.wantKind(mobility.Relayed)
		used := 0
		for i := range r.ends { // by its own relay, or by the peer's
			p := r.path(i)
			for n := range 2 {
				if a := r.net.RelayAddr(n).Addr(); p.Local.Addr() == a || p.Remote.Addr() == a {
					used = n
				}
			}
		}
		start := time.Now()
		r.net.KillRelay(used)
		time.Sleep(5 * time.Second)
		if gap := r.worst(start); gap > time.Second {
			t.Errorf("nothing arrived for %v, want at most 1 s", gap)
		}
		t.Logf("gaps: %v and %v", r.gap(0, start), r.gap(1, start))
		r.finish()
	})
}

// What happened is told once, in order, and a slow reader is told the latest.
func TestEventsOfAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4, NoRelay: true})
		h := n.Host(peertest.Public)
		a, b := meet(t, n.Endpoint(peertest.Public, nil), h.Endpoint(nil))
		go discard(t.Context(), b)
		outage := func() {
			h.SetDown(true)
			f, err := a.OpenFlow("x", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Send(t.Context(), []byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			h.SetDown(false)
			time.Sleep(5 * time.Second)
		}
		outage()
		outage()
		ev, err := a.NextEvent(t.Context())
		resumed, ok := ev.(peer.Resumed)
		if !ok || err != nil || resumed.Gap < 9*time.Second || resumed.Gap > 16*time.Second {
			t.Errorf("after two outages the event is %#v, %v; want the end of the last", ev, err)
		}
		h.SetDown(true)
		if ev, err = a.NextEvent(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ok := ev.(peer.Stalled); !ok {
			t.Errorf("the event is %#v, want Stalled", ev)
		}
		h.SetDown(false)
		if ev, err = a.NextEvent(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ok := ev.(peer.Resumed); !ok {
			t.Errorf("the event is %#v, want Resumed", ev)
		}
		if st := a.Stats(); st.Stalls != 3 {
			t.Errorf("%d stalls counted, want 3", st.Stalls)
		}
	})
}
