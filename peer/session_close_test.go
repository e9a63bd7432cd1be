// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

func TestCloseDeliversEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pair(t)
		f, err := a.OpenFlow("data", nil)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte("runnel"), 100_000)
		var receipt *flow.Receipt // read once a is done
		go func() {
			var err error
			if receipt, err = f.Send(t.Context(), want); err != nil {
				t.Error(err)
			}
			if err := a.Close(t.Context()); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
		in, err := b.AcceptFlow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := in.Recv(t.Context())
		if err != nil || !bytes.Equal(m.Data, want) {
			t.Fatalf("received %d bytes, %v; want %d", len(m.Data), err, len(want))
		}
		<-a.Done()
		if err := receipt.Wait(t.Context()); err != nil {
			t.Errorf("receipt: %v, want delivered", err)
		}
		<-b.Done()
		var ce *peer.CloseError
		if !errors.As(b.Err(), &ce) || !ce.Remote || ce.Code != peer.CodeClosed {
			t.Errorf("peer's end: %v, want an orderly close by the peer", b.Err())
		}
		if !errors.Is(b.Err(), net.ErrClosed) {
			t.Errorf("%v is not net.ErrClosed", b.Err())
		}
	})
}

func TestAbortTellsWhy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pair(t)
		a.Abort(2001, "out of cheese")
		<-b.Done()
		var ce *peer.CloseError
		if !errors.As(b.Err(), &ce) || ce.Code != 2001 || ce.Reason != "out of cheese" || !ce.Remote {
			t.Errorf("peer's end: %#v", b.Err())
		}
		<-a.Done()
		if !errors.As(a.Err(), &ce) || ce.Code != 2001 || ce.Remote {
			t.Errorf("our end: %#v", a.Err())
		}
	})
}

// Whoever violates the protocol is told how (docs/PROTOCOL.md §9).
func TestViolationsHaveCodes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		chunk []byte
		want  peer.Code
	}{
		{"unknown critical chunk", []byte{0x70, 0}, peer.CodeProtocol},
		{"malformed body", []byte{0x04, 1, 0}, peer.CodeProtocol},
		{"ping with a body", []byte{0x01, 1, 0}, peer.CodeProtocol},
		{"yield with a body", []byte{0x09, 1, 0}, peer.CodeProtocol},
		{"credit for a flow that was never opened", []byte{0x21, 2, 9, 9}, 0x4003},
		{"acknowledgement of what was not sent", []byte{0x02, 4, 0x7f, 0xff, 0, 0}, 0x4004},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := pair(t)
				a.SendChunk(tt.chunk)
				<-a.Done()
				<-b.Done()
				var near, far *peer.CloseError
				if !errors.As(b.Err(), &near) || near.Code != tt.want || near.Remote {
					t.Errorf("the one that noticed: %v, want code %v", b.Err(), tt.want)
				}
				if !errors.As(a.Err(), &far) || far.Code != tt.want || !far.Remote {
					t.Errorf("the one that did it: %v, want code %v from the peer", a.Err(), tt.want)
				}
			})
		})
	}
}

func TestBothCloseAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pair(t)
		done := make(chan error, 2)
		for _, s := range []*peer.Session{a, b} {
			go func() { done <- s.Close(t.Context()) }()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
}

func TestSilentPeerEndsTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{NoRelay: true})
		h := n.Host(peertest.Public)
		a, _ := meet(t, n.Endpoint(peertest.Public, nil), h.Endpoint(nil))
		h.SetDown(true)
		start := time.Now()
		<-a.Done()
		if !errors.Is(a.Err(), peer.ErrIdle) {
			t.Errorf("error is %v, want ErrIdle", a.Err())
		}
		if took := time.Since(start); took < 105*time.Second || took > 121*time.Second {
			t.Errorf("took %v, want 2 min from when it was last heard", took)
		}
	})
}

func TestIdleSessionLives(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
		a, b := meet(t, n.Endpoint(peertest.PortRestricted, nil), n.Endpoint(peertest.PortRestricted, nil))
		go echoSession(t.Context(), b)
		before := a.Stats()
		time.Sleep(10 * time.Minute)
		after := a.Stats()
		if err := a.Err(); err != nil {
			t.Fatalf("session ended: %v", err)
		}
		if err := say(t.Context(), a, "still there?"); err != nil {
			t.Fatal(err)
		}
		sent := after.PacketsSent - before.PacketsSent
		t.Logf("%d packets sent in 10 idle minutes", sent)
		if sent > 10*60/15*6 { // a ping or its answer, and a challenge and an answer on the relay that is kept warm
			t.Errorf("an idle session sent %d packets in 10 minutes", sent)
		}
	})
}

func TestRestartedPeerSupersedes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		bob := n.Endpoint(peertest.PortRestricted, nil)
		_, key, _ := ed25519.GenerateKey(nil)
		h := n.Host(peertest.PortRestricted)
		old := h.Endpoint(&peer.Config{Key: key})
		_, b := meet(t, old, bob)

		// The process dies without a word, and starts again with the same key.
		h.SetDown(true)
		again := n.Host(peertest.PortRestricted).Endpoint(&peer.Config{Key: key})
		time.Sleep(time.Second)
		start := time.Now()
		a2, b2 := meet(t, again, bob)
		t.Logf("new session after %v", time.Since(start))
		<-b.Done()
		if !errors.Is(b.Err(), peer.ErrSuperseded) {
			t.Errorf("old session ended with %v, want ErrSuperseded", b.Err())
		}
		go echoSession(t.Context(), b2)
		if err := say(t.Context(), a2, "back"); err != nil {
			t.Error(err)
		}
		if s, err := bob.Dial(t.Context(), again.ID()); err != nil || s != b2 {
			t.Errorf("dial returns %p, %v; want the new session %p", s, err, b2)
		}
	})
}
