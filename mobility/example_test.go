// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility_test

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
)

// A session that began by a relay finds that the direct path works, and moves there.
func Example() {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	viaRelay := mobility.Candidate{
		Key:  mobility.Key{Via: 1, Remote: netip.MustParseAddrPort("203.0.113.7:5000")},
		Kind: mobility.Relayed,
	}
	direct := mobility.Candidate{Key: mobility.Key{Remote: netip.MustParseAddrPort("203.0.113.7:5000")}}
	m := mobility.New(now, viaRelay, &mobility.Config{Rand: func(b []byte) { _, _ = rand.Read(b) }})

	m.HandleCandidate(now, direct)
	for range 2 {
		for a, ok := m.Poll(now); ok; a, ok = m.Poll(now) {
			switch a.Op {
			case mobility.Challenge:
				m.HandleSent(now, a.Path.Key, 39)
				// The peer answers 30 ms later.
				now = now.Add(30 * time.Millisecond)
				m.HandleReceived(now, a.Path.Key, 39, false)
				m.HandleResponse(now, a.Path.Key, a.Data)
			case mobility.Switch:
				fmt.Println("from", a.From)
				fmt.Println("to  ", a.Path, a.Path.RTT)
				fmt.Println("because", a.Why)
			}
		}
	}
	// Output:
	// from relayed 203.0.113.7:5000 via relay 1
	// to   direct 203.0.113.7:5000 30ms
	// because the direct path 203.0.113.7:5000 answered and needs no relay
}

// The interface of a session is gone. Its direct path is silent, the relay still answers.
func ExampleMachine_HandleLocalChange() {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	direct := mobility.Candidate{Key: mobility.Key{Remote: netip.MustParseAddrPort("203.0.113.7:5000")}}
	viaRelay := mobility.Candidate{Key: mobility.Key{Via: 1, Remote: direct.Remote}, Kind: mobility.Relayed}
	m := mobility.New(now, direct, &mobility.Config{Rand: func(b []byte) { _, _ = rand.Read(b) }})
	m.HandleCandidates(now, []mobility.Candidate{direct, viaRelay})
	answer := func() { // only the relay does, after 60 ms
		for a, ok := m.Poll(now); ok; a, ok = m.Poll(now) {
			if a.Op == mobility.Challenge && a.Path.Key == viaRelay.Key {
				now = now.Add(60 * time.Millisecond)
				m.HandleResponse(now, a.Path.Key, a.Data)
			}
		}
	}
	answer()
	now = now.Add(time.Minute)
	m.HandleLocalChange(now, "wlan0 is gone")
	answer()
	for m.Current().Kind == mobility.Direct {
		now = m.NextTimeout()
		m.HandleTimeout(now)
	}
	for _, r := range m.History()[2:] {
		fmt.Printf("%s: %s (%s)\n", r.What, r.Path, r.Why)
	}
	// Output:
	// local change: direct 203.0.113.7:5000 (wlan0 is gone)
	// doubt: direct 203.0.113.7:5000 (wlan0 is gone)
	// switch: relayed 203.0.113.7:5000 via relay 1 (the direct path 203.0.113.7:5000 no longer answers, the relayed path 203.0.113.7:5000 via relay 1 does)
}
