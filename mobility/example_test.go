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
