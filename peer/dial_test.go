// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

func TestDialReturnsTheLiveSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		a, b := meet(t, alice, bob)
		again, err := alice.Dial(t.Context(), bob.ID())
		if err != nil || again != a {
			t.Errorf("second dial: %p, %v; want the first session %p", again, err, a)
		}
		back, err := bob.Dial(t.Context(), alice.ID())
		if err != nil || back != b {
			t.Errorf("dial back: %p, %v; want the accepted session %p", back, err, b)
		}
	})
}

func TestDialUnknownPeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const oneWay = 20 * time.Millisecond
		n := peertest.New(t, &peertest.Config{OneWay: oneWay})
		alice := n.Endpoint(peertest.PortRestricted, nil)
		_, key, _ := ed25519.GenerateKey(nil)
		start := time.Now()
		_, err := alice.Dial(t.Context(), signaling.IDFromKey(key))
		if !errors.Is(err, peer.ErrNotFound) {
			t.Errorf("error is %v, want ErrNotFound", err)
		}
		var de *peer.DialError
		if !errors.As(err, &de) || de.Stage != peer.StageSignaling {
			t.Errorf("error is %#v, want a DialError at the signaling stage", err)
		}
		if took := time.Since(start); took > 2*oneWay {
			t.Errorf("took %v, want one round trip to the rendezvous, %v", took, 2*oneWay)
		}
	})
}

func TestDialNobodyAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		alice := n.Endpoint(peertest.Public, nil)
		_, key, _ := ed25519.GenerateKey(nil)
		mute := n.Hub().Join(signaling.IDFromKey(key)) // registered, but deaf
		defer mute.Close()
		_, err := alice.Dial(t.Context(), signaling.IDFromKey(key))
		if !errors.Is(err, peer.ErrNoAnswer) {
			t.Errorf("error is %v, want ErrNoAnswer", err)
		}
	})
}

func TestDialCancelled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 50 * time.Millisecond})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
		defer cancel()
		if _, err := alice.Dial(ctx, bob.ID()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want the context's", err)
		}
		// The try is given up on both sides; the next one starts afresh and succeeds.
		if _, err := alice.Dial(t.Context(), bob.ID()); err != nil {
			t.Errorf("second dial: %v", err)
		}
	})
}

func TestDialUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{NoRelay: true})
		for _, patience := range []struct{ near, far time.Duration }{
			{2 * time.Second, time.Second}, {time.Second, time.Second}, {time.Second, 2 * time.Second},
		} { // whoever is the first to give up
			h := n.Host(peertest.Public)
			alice := n.Endpoint(peertest.Public, &peer.Config{HandshakeTimeout: patience.near})
			bob := h.Endpoint(&peer.Config{HandshakeTimeout: patience.far})
			h.SetDown(true) // the rendezvous still reaches bob
			_, err := alice.Dial(t.Context(), bob.ID())
			if !errors.Is(err, peer.ErrUnreachable) {
				t.Errorf("with timeouts of %v and %v the error is %v, want ErrUnreachable", patience.near, patience.far, err)
			}
		}
	})
}

func TestDialKnownAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, NoRelay: true})
		alice, bob := n.Endpoint(peertest.Symmetric, nil), n.Endpoint(peertest.Public, nil)
		go echo(t.Context(), bob)
		start := time.Now()
		s, err := alice.DialTarget(t.Context(), peer.Target{ID: bob.ID(), Addrs: bob.LocalAddrs()})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("ready after %v of 80ms round trips: %v", time.Since(start), s.Stats().Timeline)
		if err := say(t.Context(), s, "no rendezvous"); err != nil {
			t.Error(err)
		}
	})
}

func TestDialKnownAddressOfSomebodyElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{NoRelay: true})
		alice, bob, carol := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		_, err := alice.DialTarget(t.Context(), peer.Target{ID: carol.ID(), Addrs: bob.LocalAddrs()})
		if !errors.Is(err, peer.ErrNoAnswer) {
			t.Errorf("error is %v, want ErrNoAnswer: whoever is not dialled stays silent", err)
		}
		if _, err := alice.DialTarget(t.Context(), peer.Target{
			ID: bob.ID(), Addrs: []netip.AddrPort{carol.LocalAddrs()[0], bob.LocalAddrs()[0]},
		}); err != nil {
			t.Errorf("one right address among wrong ones: %v", err)
		}
	})
}
