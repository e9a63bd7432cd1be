// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Sessions and endpoints that end while they search for a way through NATs, while the ground moves, or in an outage, leave
// nothing behind: no socket, no place of the few that search, no outage to poll for, no address let in.
func TestEndsInTheMidst(t *testing.T) {
	waits := []time.Duration{400 * time.Millisecond, 1300 * time.Millisecond, 2 * time.Second, 5 * time.Second}
	if testing.Short() {
		waits = waits[1:3]
	}
	for _, wait := range waits {
		for what, change := range map[string]func(*peertest.Host){
			"punching": func(*peertest.Host) {},
			"moving":   func(h *peertest.Host) { h.MoveTo(peertest.PortRestricted) },
			"outage":   func(h *peertest.Host) { h.SetOffline(true); time.Sleep(10 * time.Second) },
		} {
			t.Run(fmt.Sprintf("%s after %v", what, wait), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
					bob := n.Endpoint(peertest.SymmetricRandom, nil)
					time.Sleep(2 * time.Second)
					for range 3 {
						h := n.Host(peertest.PortRestricted)
						alice := h.Endpoint(nil)
						time.Sleep(time.Second)
						a, b := meet(t, alice, bob)
						time.Sleep(wait)
						change(h)
						for range 10 { // in one moment with what follows
							go alice.NetworkChanged()
							go bob.NetworkChanged()
						}
						b.Abort(peer.CodeClosed, "")
						if err := alice.Close(t.Context()); err != nil {
							t.Error(err)
						}
						<-a.Done()
						<-b.Done()
						time.Sleep(20 * time.Second)
					}
					extras, punching, outages, permitted := bob.Leftovers()
					if extras != 0 || punching != 0 || outages != 0 || permitted != 0 {
						t.Errorf("%d extra sockets, %d attempts, %d outages and %d addresses let in are left, want none",
							extras, punching, outages, permitted)
					}
				})
			})
		}
	}
}
