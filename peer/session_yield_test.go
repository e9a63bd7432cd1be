// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Somebody who receives time-critical data from one peer asks the others to leave room, and no longer than it lasts.
func TestYield(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, nil)
		farBulk, bulk := meet(t, far, n.Endpoint(peertest.Public, nil))
		farVoice, voice := meet(t, far, n.Endpoint(peertest.Public, nil))
		go drain(t, farBulk)
		go drain(t, farVoice)

		file, err := bulk.OpenFlow("file", &flow.Options{Priority: flow.Bulk})
		if err != nil {
			t.Fatal(err)
		}
		call, err := voice.OpenFlow("voice", &flow.Options{Priority: flow.Immediate})
		if err != nil {
			t.Fatal(err)
		}
		// Both send for d; phases are those of the bulk session's controller.
		during := func(d time.Duration, talk bool) (phases map[string]int) {
			phases = make(map[string]int)
			for range d / (10 * time.Millisecond) {
				if _, err := file.TrySend(make([]byte, 10_000)); err != nil && !errors.Is(err, flow.ErrWouldBlock) {
					t.Fatal(err)
				}
				if talk {
					if _, err := call.TrySend(make([]byte, 200)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Millisecond)
				phases[bulk.Stats().Flow.Phase]++
			}
			return phases
		}
		if got := during(2*time.Second, false); got["yield"] > 0 {
			t.Errorf("yielding %d times though nobody talks: %v", got["yield"], got)
		}
		if got := during(2*time.Second, true); got["yield"] < 100 {
			t.Errorf("yielding %d of 200 times while somebody else talks: %v", got["yield"], got)
		}
		during(2*time.Second, false)
		if got := during(time.Second, false); got["yield"] > 0 {
			t.Errorf("yielding %d times after the talk: %v", got["yield"], got)
		}
	})
}

// drain reads the next flow of s to its end.
func drain(t *testing.T, s *peer.Session) {
	r, err := s.AcceptFlow(t.Context())
	for err == nil {
		_, err = r.Recv(t.Context())
	}
}
