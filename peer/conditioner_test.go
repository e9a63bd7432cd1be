// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// conditionedPair returns the ends of a session of which the dialler has a conditioner, on a network with round trips
// of 20 ms.
func conditionedPair(t *testing.T) (a, b *peer.Session, c *peer.Conditioner) {
	t.Helper()
	c = new(peer.Conditioner)
	n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
	a, b = meet(t, n.Endpoint(peertest.Public, &peer.Config{Conditioner: c}), n.Endpoint(peertest.Public, nil))
	return a, b, c
}

// transfer sends n messages from a to b and checks that they arrive, in order and intact.
func transfer(t *testing.T, a, b *peer.Session, n int) {
	t.Helper()
	f, err := a.OpenFlow("transfer", nil)
	if err != nil {
		t.Fatal(err)
	}
	message := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d,", i), 500) }
	go func() {
		for i := range n {
			if _, err := f.Send(t.Context(), message(i)); err != nil {
				return // the receiver finds out
			}
		}
		_ = f.Close(t.Context())
	}()
	r, err := b.AcceptFlow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m, err := r.Recv(t.Context())
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if !bytes.Equal(m.Data, message(i)) {
			t.Fatalf("message %d is not what was sent", i)
		}
	}
}

func TestConditionsChangeWhileTheSessionRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := conditionedPair(t)
		transfer(t, a, b, 200)
		if st := c.Stats(); st != (peer.ConditionerStats{}) {
			t.Errorf("without conditions it did something: %+v", st)
		}
		before := a.Stats().Flow.PacketsLost
		c.Set(peer.Conditions{Loss: 0.2, Seed: 1})
		transfer(t, a, b, 1000)
		bad := c.Stats()
		for what, st := range map[string]peer.ConditionStats{"sent": bad.Send, "received": bad.Receive} {
			if part := float64(st.Lost) / float64(st.Packets); st.Packets < 100 || part < 0.1 || part > 0.3 {
				t.Errorf("of %d packets %s, %d were lost; want a fifth of some hundred", st.Packets, what, st.Lost)
			}
		}
		lost := a.Stats().Flow.PacketsLost
		if lost == before {
			t.Error("the session has not noticed the losses")
		}
		c.Set(peer.Conditions{})
		time.Sleep(time.Second) // what was lost before is found out
		lost = a.Stats().Flow.PacketsLost
		transfer(t, a, b, 200)
		if got := a.Stats().Flow.PacketsLost; got != lost {
			t.Errorf("%d packets were lost after the losses ended", got-lost)
		}
		if st := c.Stats(); st != bad {
			t.Errorf("it still counts without conditions: %+v, then %+v", bad, st)
		}
	})
}

func TestDelayShowsInRoundTrips(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := conditionedPair(t)
		c.SetSend(peer.Conditions{Delay: 30 * time.Millisecond})
		c.SetReceive(peer.Conditions{Delay: 50 * time.Millisecond})
		transfer(t, a, b, 500)
		if rtt := a.Stats().RTT; rtt < 95*time.Millisecond || rtt > 130*time.Millisecond {
			t.Errorf("round trips take %v, want 20 ms of the network and 80 ms of the conditions", rtt)
		}
		if send, receive := c.Conditions(); send.Delay != 30*time.Millisecond || receive.Delay != 50*time.Millisecond {
			t.Errorf("the conditions are %v and %v, not what has been set", send, receive)
		}
	})
}

func TestBandwidthLimitsGoodput(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := conditionedPair(t)
		c.SetSend(peer.Conditions{Bandwidth: 4_000_000, QueueDelay: 50 * time.Millisecond})
		start, before := time.Now(), a.Stats().BytesSent
		transfer(t, a, b, 500)
		took := time.Since(start)
		bits := 8 * float64(a.Stats().BytesSent-before-c.Stats().Send.QueueFull*1200)
		if rate := bits / took.Seconds(); rate > 4_100_000 || rate < 3_000_000 {
			t.Errorf("%.0f bits passed in %v, through 4 Mbit/s", bits, took)
		}
	})
}

func TestEverythingAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := conditionedPair(t)
		c.Set(peer.Conditions{
			Loss: 0.03, Burst: 3, Delay: 10 * time.Millisecond, Jitter: 10 * time.Millisecond, JitterReorders: true,
			Reorder: 0.02, ReorderDelay: 20 * time.Millisecond, Duplicate: 0.05, Corrupt: 0.02, Bandwidth: 20_000_000,
		})
		transfer(t, a, b, 300)
		st := c.Stats()
		if r := st.Receive; r.Lost == 0 || r.Reordered == 0 || r.Duplicated == 0 || r.Corrupted == 0 || r.Delayed == 0 {
			t.Errorf("not everything happened: %+v", r)
		}
		if s := a.Stats(); s.Forged == 0 || s.Replayed == 0 {
			t.Errorf("the session saw %d damaged packets and %d twins", s.Forged, s.Replayed)
		}
	})
}

func TestOutageAndReturn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := conditionedPair(t)
		c.Set(peer.Conditions{Loss: 1})
		time.AfterFunc(8*time.Second, func() { c.Set(peer.Conditions{}) })
		transfer(t, a, b, 50)
		if err := errors.Join(a.Err(), b.Err()); err != nil {
			t.Errorf("the session did not survive: %v", err)
		}
	})
}

// Connectivity checks and signaling's own way to a peer's address are affected too.
func TestConditionsApplyBeforeTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var c peer.Conditioner
		c.Set(peer.Conditions{Loss: 1})
		n := peertest.New(t, nil)
		alice := n.Endpoint(peertest.Public, &peer.Config{Conditioner: &c, HandshakeTimeout: 5 * time.Second})
		bob := n.Endpoint(peertest.Public, nil)
		if _, err := alice.Dial(t.Context(), bob.ID()); !errors.Is(err, peer.ErrUnreachable) {
			t.Errorf("dialling through an outage: %v, want ErrUnreachable", err)
		}
		c.Set(peer.Conditions{})
		if _, err := alice.Dial(t.Context(), bob.ID()); err != nil {
			t.Errorf("dialling after it: %v", err)
		}
	})
}

func TestConditionerNeedsAGoroutineOnlyWhileItHoldsPackets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := conditionedPair(t)
		settle(t)
		time.Sleep(time.Minute) // what establishing needed is gone
		synctest.Wait()
		if got := conditioners(); got != 0 {
			t.Errorf("%d goroutines without conditions, want none", got)
		}
		c.Set(peer.Conditions{Delay: time.Second})
		f, err := a.OpenFlow("x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Send(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := conditioners(); got != 1 || c.Stats().Send.Held == 0 {
			t.Errorf("%d goroutines more while %d packets are held, want 1", got, c.Stats().Send.Held)
		}
		if _, err := b.AcceptFlow(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Set(peer.Conditions{})
		time.Sleep(time.Second)
		synctest.Wait()
		if got := conditioners(); got != 0 || c.Stats().Send.Held != 0 {
			t.Errorf("%d goroutines more when %d packets are held, want none", got, c.Stats().Send.Held)
		}
	})
}

// conditioners returns how many goroutines hand on what conditioners hold.
func conditioners() int {
	buf := make([]byte, 1<<20)
	return bytes.Count(buf[:runtime.Stack(buf, true)], []byte("peer.(*conditioned).run("))
}

// expired returns a context that has ended.
func expired(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestEndpointClosesWithPacketsHeld(t *testing.T) {
	bubble(t, func(t *testing.T) { // which fails if a goroutine is left
		var c peer.Conditioner
		n := peertest.New(t, nil)
		one := n.Endpoint(peertest.Public, &peer.Config{Conditioner: &c})
		two := n.Endpoint(peertest.Public, &peer.Config{Conditioner: &c})
		meet(t, one, two)
		c.Set(peer.Conditions{Delay: time.Minute})
		for _, e := range []*peer.Endpoint{one, two} {
			if err := e.Close(expired(t)); err != nil {
				t.Fatal(err)
			}
		}
		st := c.Stats()
		if st.Send.Held != 0 || st.Send.Discarded == 0 || st.Send.Discarded != st.Send.Packets {
			t.Errorf("after Close: %+v, want all packets discarded", st.Send)
		}
	})
}

func TestConditionerCostsNothingUnset(t *testing.T) {
	if testing.AllocsPerRun(100, func() {
		if peer.Conditioned(nil, nil) {
			t.Error("nil took a packet")
		}
	}) != 0 {
		t.Error("an endpoint without conditioner allocates for it")
	}
	var c peer.Conditioner
	e, err := peer.Listen(t.Context(), &peer.Config{Conditioner: &c, Network: new(sinkNetwork)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(expired(t))
	b := make([]byte, 1200)
	if n := testing.AllocsPerRun(100, func() {
		if peer.Conditioned(e, b) {
			t.Error("it took a packet without conditions")
		}
	}); n != 0 {
		t.Errorf("a conditioner without conditions allocates %v times for each packet", n)
	}
}
