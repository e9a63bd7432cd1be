// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// The time from Dial to the first byte echoed is counted in round trips between the peers, through two
// port-restricted NATs with links of 20 ms one way and signaling warm.
func TestDialToEcho(t *testing.T) {
	const oneWay = 20 * time.Millisecond
	const rtt = 4 * oneWay // there and back, over both links
	for _, tt := range []struct {
		name  string
		early bool
		limit float64 // round trips
	}{
		{"dial", false, 5},
		{"early", true, 4.5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := peertest.New(t, &peertest.Config{OneWay: oneWay})
				alice, bob := net.Endpoint(peertest.PortRestricted, nil), net.Endpoint(peertest.PortRestricted, nil)
				settle(t)
				go echo(t.Context(), bob)
				start := time.Now()
				var s *peer.Session
				var err error
				if tt.early {
					s, err = alice.DialEarly(peer.Target{ID: bob.ID()})
				} else {
					s, err = alice.Dial(t.Context(), bob.ID())
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := say(t.Context(), s, "x"); err != nil {
					t.Fatal(err)
				}
				took := float64(time.Since(start)) / float64(rtt)
				for _, m := range s.Stats().Timeline {
					t.Logf("%-10s %5.2f round trips  (%v)", m.Name, float64(m.At)/float64(rtt), m.At)
				}
				t.Logf("%-10s %5.2f round trips", "echo", took)
				if took > tt.limit {
					t.Errorf("first byte echoed after %.2f round trips, want at most %v", took, tt.limit)
				}
			})
		})
	}
}
