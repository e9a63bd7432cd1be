// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// TestTimersOfABusyLoop: a loop that has got behind with what has arrived reads all of it before it believes that an
// acknowledgement is missing, and what it is told meanwhile is no older for that.
func TestTimersOfABusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, NoRelay: true})
		var slow atomic.Bool
		busy := n.Endpoint(peertest.Public, &peer.Config{Trace: func(peer.SessionInfo) *peer.Trace {
			return &peer.Trace{PacketReceived: func(peer.PacketReceived) {
				if slow.Load() {
					time.Sleep(3 * time.Millisecond)
				}
			}}
		}})
		s, far := meet(t, busy, n.Endpoint(peertest.Public, nil))
		go discard(t.Context(), s)
		go discard(t.Context(), far)

		f, err := s.OpenFlow("small", &flow.Options{Priority: flow.Urgent})
		if err != nil {
			t.Fatal(err)
		}
		bulk, err := far.OpenFlow("bulk", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 { // until the round trip is known
			if r, err := f.Send(t.Context(), []byte("tick")); err != nil || r.Wait(t.Context()) != nil {
				t.Fatal(err)
			}
		}
		if _, err := bulk.Send(t.Context(), make([]byte, 8<<20)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(250 * time.Millisecond) // the window opens

		before := s.Stats()
		slow.Store(true)
		var ticks []*flow.Receipt
		for range 30 {
			r, err := f.Send(t.Context(), []byte("tick"), flow.StartWithin(20*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			ticks = append(ticks, r)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		after := s.Stats()
		if got := after.PacketsReceived - before.PacketsReceived; got < 300 {
			t.Fatalf("%d packets received, want hundreds", got)
		}
		if timeouts := after.Flow.TotalTimeouts - before.Flow.TotalTimeouts; timeouts != 0 {
			t.Errorf("%d probe timeouts, want none: every acknowledgement had arrived in time\n%+v", timeouts, after)
		}
		for i, r := range ticks {
			if err := r.Wait(t.Context()); err != nil {
				t.Errorf("tick %d: %v; want it sent as soon as the loop heard of it", i, err)
			}
		}
	})
}
