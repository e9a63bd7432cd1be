// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

func TestPathsDependOnNATs(t *testing.T) {
	for _, tt := range []struct {
		a, b    peertest.NAT
		noRelay bool
		want    mobility.Kind
		err     error
	}{
		{a: peertest.PortRestricted, b: peertest.PortRestricted, want: mobility.Direct},
		{a: peertest.Symmetric, b: peertest.Symmetric, want: mobility.Direct},
		{a: peertest.SymmetricRandom, b: peertest.SymmetricRandom, want: mobility.Relayed},
		{a: peertest.PortRestricted, b: peertest.PortRestricted, noRelay: true, want: mobility.Direct},
		{a: peertest.Symmetric, b: peertest.Symmetric, noRelay: true, err: peer.ErrUnreachable},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, NoRelay: tt.noRelay})
			a, b := n.Endpoint(tt.a, nil), n.Endpoint(tt.b, nil)
			time.Sleep(time.Second) // relays are allocated
			s, err := a.Dial(t.Context(), b.ID())
			if !errors.Is(err, tt.err) {
				t.Fatalf("%+v: error is %v, want %v", tt, err, tt.err)
			}
			if err != nil {
				return
			}
			time.Sleep(5 * time.Second) // the direct path, if there is one, has taken over
			if got := s.Stats().Path.Kind; got != tt.want {
				t.Errorf("%+v: path is %v, want %v", tt, got, tt.want)
			}
		})
	}
}

func TestNeighborsMeetOnTheirNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 50 * time.Millisecond})
		h := n.Host(peertest.Symmetric)
		a, b := h.Endpoint(nil), h.Neighbor().Endpoint(nil)
		s, err := a.Dial(t.Context(), b.ID())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if p := s.Stats().Path; p.Kind != mobility.Direct || !p.Remote.Addr().IsPrivate() {
			t.Errorf("path is %+v, want a direct one inside the network", p)
		}
	})
}

func TestCutAndTap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		h := n.Host(peertest.Public)
		a, b := h.Endpoint(nil), n.Endpoint(peertest.Public, nil)
		s, err := a.Dial(t.Context(), b.ID())
		if err != nil {
			t.Fatal(err)
		}
		packets := 0 // written by the network's goroutine, read when it is quiet
		remove := n.Tap(func(p peertest.Packet) peertest.Verdict {
			packets++
			return peertest.Pass
		})
		h.SetDown(true)
		<-s.Done()
		if !errors.Is(s.Err(), peer.ErrIdle) {
			t.Errorf("session ended with %v, want ErrIdle", s.Err())
		}
		remove()
		synctest.Wait()
		if packets == 0 {
			t.Error("the tap saw nothing")
		}
	})
}

func TestConditionsOfHostsAndPairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		n := peertest.New(t, &peertest.Config{OneWay: 5 * ms, NoRelay: true})
		ha, hb := n.Host(peertest.PortRestricted), n.Host(peertest.PortRestricted)
		a, b := ha.Endpoint(nil), hb.Endpoint(nil)
		s, err := a.Dial(t.Context(), b.ID())
		if err != nil {
			t.Fatal(err)
		}
		rtt := func() time.Duration { // of an answered message
			t.Helper()
			start := time.Now()
			f, err := s.OpenFlow("x", nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := f.Send(t.Context(), []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close(t.Context())
			if err := r.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		time.Sleep(time.Second)
		ha.Condition(peer.Conditions{Delay: 100 * ms}, peer.Conditions{Delay: 200 * ms})
		n.Condition(hb, ha, peer.Conditions{Delay: 400 * ms})
		if got := rtt(); got < 720*ms || got > 760*ms {
			t.Errorf("an answer took %v, want 20 ms of the network and 700 ms of conditions", got)
		}
		ha.Condition(peer.Conditions{}, peer.Conditions{})
		n.Condition(hb, ha, peer.Conditions{})
		time.Sleep(5 * time.Second)
		if got := rtt(); got > 60*ms {
			t.Errorf("an answer took %v without conditions", got)
		}
	})
}
