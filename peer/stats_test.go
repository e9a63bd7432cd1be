// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
)

// A program that lags can ask what waits, and for how long.
func ExampleSession_FlowStats() {
	var s *peer.Session // an established session
	if s == nil {
		return
	}
	now := time.Now()
	for _, f := range s.FlowStats() {
		if !f.Incoming {
			fmt.Printf("%s: %d messages wait, the oldest for %v\n", f.Label, f.Sender.Queued, f.Sender.QueueAge(now))
		}
	}
	st := s.Stats().Flow
	fmt.Printf("pacing at %.1f Mbit/s, queue delay %v\n", 8*st.PacingRate/1e6, st.QueueDelay)
}

func TestFlowStats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := conditionedPair(t)
		transfer(t, a, b, 10)
		time.Sleep(time.Second)
		c.Set(peer.Conditions{Loss: 1})
		f, err := a.OpenFlow("stuck", &flow.Options{Priority: flow.Urgent})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := f.Send(t.Context(), make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		infos := a.FlowStats()
		if len(infos) != 1 || infos[0].Label != "stuck" || infos[0].Incoming || infos[0].Priority != flow.Urgent {
			t.Fatalf("flows are %+v, want the one that is stuck", infos)
		}
		if s := infos[0].Sender; s.Queued == 0 || s.InFlight == 0 || s.QueueAge(time.Now()) != 3*time.Second {
			t.Errorf("a flow that is stuck for 3 s has %+v", s)
		}
		if infos := b.FlowStats(); len(infos) != 0 {
			t.Errorf("the peer, who has heard nothing of it, has %+v", infos)
		}
		a.Abort(2000, "")
		<-a.Done()
		time.Sleep(10 * time.Second)
		if infos := a.FlowStats(); infos != nil {
			t.Errorf("after the session there are %+v", infos)
		}
	})
}
