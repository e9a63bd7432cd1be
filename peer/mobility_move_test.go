// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// rebindMost is a round trip and 50 ms after the first packet from a new address has arrived, and what lies around that
// in a gap: the packet's own time to come, and the times until the next messages there and back.
const rebindMost = moveRTT + 50*time.Millisecond + moveRTT/2 + 2*tickTime

// A NAT that forgets its mappings, or gets another public address, costs a round trip, if the peer can be reached from
// there. If it cannot, the path has to be missed first.
func TestNATRebinds(t *testing.T) {
	for name, test := range map[string]struct {
		rebind func(*peertest.Host)
		other  peertest.NAT
		most   time.Duration
	}{
		"port":              {(*peertest.Host).Rebind, peertest.AddressRestricted, rebindMost},
		"address":           {(*peertest.Host).Renumber, peertest.FullCone, rebindMost},
		"port, filtered":    {(*peertest.Host).Rebind, peertest.PortRestricted, 2500 * time.Millisecond},
		"address, filtered": {(*peertest.Host).Renumber, peertest.PortRestricted, 2500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, mover int) {
				r := newMobilityRig(t, nil, [2]peertest.NAT{peertest.PortRestricted, test.other}, mover)
				start := time.Now()
				test.rebind(r.hosts[0])
				time.Sleep(5 * time.Second)
				if gap := r.worst(start); gap > test.most {
					t.Errorf("nothing arrived for %v, want at most %v", gap, test.most)
				}
				t.Logf("gaps: %v from the mover, %v to it", r.gap(0, start), r.gap(1, start))
				r.wantKind(mobility.Direct)
				r.finish()
			})
		})
	}
}

// A host that changes its network, with a hole between, is back soon.
func TestMoves(t *testing.T) {
	holes := []time.Duration{500 * time.Millisecond, 0, 100 * time.Millisecond, 2 * time.Second}
	if testing.Short() {
		holes = holes[:1]
	}
	for _, hole := range holes {
		t.Run(hole.String(), func(t *testing.T) {
			eachRole(t, func(t *testing.T, mover int) {
				r := newMobilityRig(t, nil, homes, mover)
				start := time.Now()
				r.hosts[0].Detach()
				time.Sleep(hole)
				r.hosts[0].MoveTo(peertest.PortRestricted)
				time.Sleep(5 * time.Second)
				want := hole + 500*time.Millisecond
				if gap := r.worst(start); gap > want {
					t.Errorf("nothing arrived for %v, want at most %v", gap, want)
				}
				t.Logf("gaps: %v from the mover, %v to it", r.gap(0, start), r.gap(1, start))
				time.Sleep(25 * time.Second)
				r.wantKind(mobility.Direct)
				r.finish()
			})
		})
	}
}

// Two hosts that change their networks at the same moment find each other by the rendezvous.
func TestBothMove(t *testing.T) {
	eachRole(t, func(t *testing.T, dialler int) {
		r := newMobilityRig(t, nil, homes, dialler)
		start := time.Now()
		r.hosts[0].MoveTo(peertest.PortRestricted)
		r.hosts[1].MoveTo(peertest.PortRestricted)
		time.Sleep(5 * time.Second)
		if gap := r.worst(start); gap > time.Second {
			t.Errorf("nothing arrived for %v, want at most 1 s", gap)
		}
		t.Logf("gaps: %v and %v", r.gap(0, start), r.gap(1, start))
		time.Sleep(5 * time.Second)
		r.wantKind(mobility.Direct)
		r.finish()
	})
}
