// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"testing"
	"time"

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
		"port, filtered":    {(*peertest.Host).Rebind, peertest.PortRestricted, 550 * time.Millisecond},
		"address, filtered": {(*peertest.Host).Renumber, peertest.PortRestricted, 550 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			eachPhase(t, func(t *testing.T, mover int, seed uint64) {
				c := &peertest.Config{Jitter: time.Millisecond, Seed: seed}
				r := newMobilityRig(t, c, [2]peertest.NAT{peertest.PortRestricted, test.other}, mover)
				r.phase(seed)
				start := time.Now()
				test.rebind(r.hosts[0])
				r.wantDirectFor(start, time.Second)
				r.wantGap(start, test.most)
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
			eachPhase(t, func(t *testing.T, mover int, seed uint64) {
				r := newMobilityRig(t, &peertest.Config{Jitter: time.Millisecond, Seed: seed}, homes, mover)
				r.phase(seed)
				start := time.Now()
				r.hosts[0].Detach()
				time.Sleep(hole)
				r.hosts[0].MoveTo(peertest.PortRestricted)
				r.wantDirectFor(time.Now(), time.Second)
				r.wantGap(start, hole+5*moveRTT+tickTime)
				r.finish()
			})
		})
	}
}

// Two hosts that change their networks at the same moment find each other by the rendezvous.
func TestBothMove(t *testing.T) {
	for name, nat := range map[string]peertest.NAT{"homes": peertest.PortRestricted, "hard NATs": peertest.Symmetric} {
		t.Run(name, func(t *testing.T) {
			eachPhase(t, func(t *testing.T, dialler int, seed uint64) {
				r := newMobilityRig(t, &peertest.Config{Jitter: time.Millisecond, Seed: seed}, [2]peertest.NAT{nat, nat}, dialler)
				r.phase(seed)
				start := time.Now()
				r.hosts[0].MoveTo(nat)
				r.hosts[1].MoveTo(nat)
				r.wantDirectFor(start, 3*time.Second)
				r.wantGap(start, 500*time.Millisecond)
				r.finish()
			})
		})
	}
}
