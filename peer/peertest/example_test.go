// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A test of what a program does when its peer's link becomes one of 1 Mbit/s that loses packets in bursts.
func ExampleHost_Condition() {
	video := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
			alice, phone := net.Endpoint(peertest.PortRestricted, nil), net.Host(peertest.Symmetric)
			bob := phone.Endpoint(nil)
			s, err := alice.Dial(t.Context(), bob.ID())
			if err != nil {
				t.Fatal(err)
			}
			narrow := peer.Conditions{Bandwidth: 1_000_000, QueueDelay: 300 * time.Millisecond, Loss: 0.01, Burst: 3}
			phone.Condition(narrow, narrow)
			time.Sleep(time.Minute) // virtual; send and receive meanwhile
			if st := s.Stats().Flow; st.QueueDelay > 50*time.Millisecond {
				t.Errorf("packets wait for %v in the queue", st.QueueDelay)
			}
			phone.Condition(peer.Conditions{}, peer.Conditions{})
		})
	}
	_ = video
}

// A test of a program in virtual time: two peers behind NATs, a round trip of 80 ms, ten idle minutes.
func Example() {
	// In a file of tests this is func TestGreeting(t *testing.T).
	greeting := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
			alice := net.Endpoint(peertest.PortRestricted, nil)
			bob := net.Endpoint(peertest.Symmetric, nil)
			s, err := alice.Dial(t.Context(), bob.ID())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute) // virtual
			f, err := s.OpenFlow("greeting", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Send(t.Context(), []byte("hello")); err != nil {
				t.Fatal(err)
			}
		})
	}
	_ = greeting
}
