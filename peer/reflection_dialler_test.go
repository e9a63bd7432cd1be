// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// The peer that is dialled sends the end of its handshake, and everything after it, with the address of a victim. The
// dialler must not take that address for proven: what it answers has gone elsewhere.
func TestFirstPathIsNotProvenToDialler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		victim := netip.MustParseAddrPort("5.200.0.1:4000")
		aliceAddr, bobAddr := alice.LocalAddrs()[0], bob.LocalAddrs()[0]
		var mu sync.Mutex
		var from, to int
		answered, moved := false, false
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			mu.Lock()
			defer mu.Unlock()
			between := p.To == aliceAddr && p.From == bobAddr || p.From == aliceAddr && p.To == bobAddr
			switch {
			case p.Payload[0] < 64 && between:
				return peertest.Drop // bob does not take part in ICE
			case p.From == bobAddr && p.To == aliceAddr && !moved:
				answered = answered || p.Payload[0] == wire.FirstHandshake
			case p.From == aliceAddr && p.To == bobAddr && answered:
				moved = true // bob has the dialler's second flight
			case p.From == bobAddr && p.To == aliceAddr:
				q := p.Clone()
				q.From = victim
				from += len(q.Payload)
				n.Inject(q)
				return peertest.Drop
			case p.From == aliceAddr && p.To == victim:
				to += len(p.Payload)
			}
			return peertest.Pass
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		a, err := alice.Dial(ctx, bob.ID())
		if err != nil {
			t.Logf("no session: %v", err) // as good
			return
		}
		f, err := a.OpenFlow("bulk", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			if _, err := f.TrySend(make([]byte, 16<<10)); err != nil {
				break
			}
		}
		time.Sleep(40 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		t.Logf("%d bytes seemed to come from the victim, %d went there", from, to)
		if to > 3*from+600 { // and a few challenges
			t.Errorf("%d bytes went to an address that never answered, of which %d seemed to come; want at most three times as many", to, from)
		}
	})
}

// The peer that is dialled answers the dialler's first flight with the address of a victim and says nothing more. The
// dialler must not go on repeating its second flight there at the same rate.
func TestDiallerRepeatsToUnprovenPath(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		victim := netip.MustParseAddrPort("5.200.0.1:4000")
		aliceAddr, bobAddr := alice.LocalAddrs()[0], bob.LocalAddrs()[0]
		var mu sync.Mutex
		var from, to int
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case p.From == bobAddr && p.To == aliceAddr:
				if p.Payload[0] == wire.FirstHandshake && from == 0 {
					q := p.Clone()
					q.From = victim
					from += len(q.Payload)
					n.Inject(q)
				}
				return peertest.Drop
			case p.From == aliceAddr && p.To == victim:
				to += len(p.Payload)
			}
			return peertest.Pass
		})
		if _, err := alice.Dial(t.Context(), bob.ID()); err == nil {
			t.Fatal("dial succeeded")
		}
		mu.Lock()
		defer mu.Unlock()
		t.Logf("%d bytes seemed to come from the victim, %d went there", from, to)
		if from == 0 || to > 12<<10 { // more than three times as much, or a few losses would end in deadlock; but not for ever
			t.Errorf("%d bytes went to an address from which a single packet of %d seemed to come, want at most 12 KiB", to, from)
		}
	})
}

// Copies of a listener's Answer that arrive from other addresses than those dialled add no address to the dial.
func TestAnswerFromElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		victim := netip.MustParseAddr("5.200.0.1")
		aliceAddr, bobAddr := alice.LocalAddrs()[0], bob.LocalAddrs()[0]
		var mu sync.Mutex
		var from, to int
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case p.From == bobAddr && p.To == aliceAddr && p.Payload[0] == wire.FirstAnswer:
				for i := range 20 {
					q := p.Clone()
					q.From = netip.AddrPortFrom(victim, uint16(4000+i))
					from += len(q.Payload)
					n.Inject(q)
				}
			case p.From == bobAddr && p.To == aliceAddr && p.Payload[0] == wire.FirstHandshake:
				return peertest.Drop // bob, who plays this trick, does not go on
			case p.From == aliceAddr && p.To.Addr() == victim:
				to += len(p.Payload)
			}
			return peertest.Pass
		})
		_, _ = alice.DialTarget(t.Context(), peer.Target{ID: bob.ID(), Addrs: []netip.AddrPort{bobAddr}})
		mu.Lock()
		defer mu.Unlock()
		if from == 0 {
			t.Fatal("the attack did not take place")
		}
		if to > 0 {
			t.Errorf("%d bytes went to addresses that were never dialled, %d seemed to come from there", to, from)
		}
	})
}
