// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// meet returns the two ends of a session between two endpoints.
func meet(t *testing.T, dialler, listener *peer.Endpoint) (a, b *peer.Session) {
	t.Helper()
	a, err := dialler.Dial(t.Context(), listener.ID())
	if err != nil {
		t.Fatal(err)
	}
	b, err = listener.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// pair returns the two ends of a session on a fast network.
func pair(t *testing.T) (a, b *peer.Session) {
	t.Helper()
	n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
	return meet(t, n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil))
}

func TestSessionKnowsItsPeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		a, b := meet(t, alice, bob)
		if a.Peer() != bob.ID() || b.Peer() != alice.ID() {
			t.Errorf("peers are %v and %v, want %v and %v", a.Peer(), b.Peer(), bob.ID(), alice.ID())
		}
	})
}

func TestAuthorize(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		alice, carol := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		bob := n.Endpoint(peertest.Public, &peer.Config{Authorize: func(_ context.Context, id peer.ID) error {
			if id == alice.ID() {
				return errors.New("not alice")
			}
			return nil
		}})
		if _, err := alice.Dial(t.Context(), bob.ID()); !errors.Is(err, peer.ErrRefused) {
			t.Errorf("alice's dial: %v, want ErrRefused", err)
		}
		if _, err := carol.Dial(t.Context(), bob.ID()); err != nil {
			t.Errorf("carol's dial: %v", err)
		}
	})
}

// Candidates that the dialler learns while the listener is still thinking are not lost.
func TestCandidatesWhileAuthorizing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		bob := n.Endpoint(peertest.PortRestricted, &peer.Config{Authorize: func(ctx context.Context, _ peer.ID) error {
			time.Sleep(2 * time.Second)
			return nil
		}})
		settle(t)
		alice := n.Endpoint(peertest.Symmetric, nil) // dials before it knows any address but its own
		s, err := alice.Dial(t.Context(), bob.ID())
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Stats().Path.Kind; got != mobility.Relayed {
			t.Errorf("path is %v, want relayed", got)
		}
	})
}

// What an endpoint drops is counted by reason.
func TestEndpointStats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{NoRelay: true})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		if _, err := alice.Dial(t.Context(), bob.ID()); err != nil {
			t.Fatal(err)
		}
		from, to := netip.MustParseAddrPort("5.200.0.1:4000"), bob.LocalAddrs()[0]
		for _, payload := range [][]byte{
			{0x20},                        // DTLS
			{0, 1, 0, 4, 1, 2, 3, 4},      // no STUN
			append([]byte{0x40}, 1, 2, 3), // a channel of no relay
			{0xe1, 1},                     // the beginning of an Init
			append([]byte{0xc1}, make([]byte, 40)...), // a session that is not there
		} {
			n.Inject(peertest.Packet{From: from, To: to, Payload: payload})
		}
		time.Sleep(time.Second)
		got := bob.Stats()
		want := peer.EndpointStats{
			Sessions: 1, Waiting: 1, UnknownClass: 1, BadSTUN: 1, ForeignSTUN: 1, Malformed: 1, NoSession: 1,
		}
		if got != want {
			t.Errorf("stats are %+v, want %+v", got, want)
		}
	})
}

// A chunk that may be skipped is.
func TestElectiveChunkIsSkipped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pair(t)
		go echoSession(t.Context(), b)
		a.SendChunk([]byte{0x80, 3, 1, 2, 3})
		if err := say(t.Context(), a, "still here"); err != nil {
			t.Error(err)
		}
		if got := b.Stats().UnknownChunks; got != 1 {
			t.Errorf("%d chunks were skipped, want 1", got)
		}
	})
}

func TestRelayToDirectInPlace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
		alice, bob := n.Endpoint(peertest.PortRestricted, nil), n.Endpoint(peertest.PortRestricted, nil)
		settle(t)
		// Everything between the two hosts is lost for two seconds; the relay is not.
		open := time.Now().Add(2 * time.Second)
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			if time.Now().Before(open) && p.From.Addr() != n.Relay().Addr() && p.To.Addr() != n.Relay().Addr() {
				return peertest.Drop
			}
			return peertest.Pass
		})
		a, b := meet(t, alice, bob)
		if got := a.Stats().Path.Kind; got != mobility.Relayed {
			t.Fatalf("first path is %v, want relayed", got)
		}
		go echoSession(t.Context(), b)
		ev, err := a.NextEvent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pc, ok := ev.(peer.PathChanged)
		if !ok || pc.From.Kind != mobility.Relayed || pc.To.Kind != mobility.Direct {
			t.Fatalf("event is %+v, want a change from relayed to direct", ev)
		}
		t.Logf("direct %v after the way was open: %s", time.Since(open), pc.Why)
		if err := say(t.Context(), a, "direct now"); err != nil {
			t.Error(err)
		}
		if a.Err() != nil || b.Err() != nil {
			t.Errorf("session did not survive: %v, %v", a.Err(), b.Err())
		}
	})
}

func TestPeersNATRebinds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, NoRelay: true})
		h := n.Host(peertest.FullCone)
		alice, bob := h.Endpoint(nil), n.Endpoint(peertest.Public, nil)
		settle(t)
		a, b := meet(t, alice, bob)
		go echoSession(t.Context(), b)
		if err := say(t.Context(), a, "before"); err != nil {
			t.Fatal(err)
		}
		old := b.Stats().Path.Remote
		h.Rebind()
		if err := say(t.Context(), a, "after"); err != nil {
			t.Fatal(err)
		}
		got := b.Stats()
		if got.Path.Remote == old || got.PathChanges == 0 {
			t.Errorf("path is still to %v", got.Path.Remote)
		}
	})
}

func TestKeysAreReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, Loss: 0.02, NoRelay: true})
		var c peer.Config
		c.RekeyAfter(64)
		a, b := meet(t, n.Endpoint(peertest.Public, &c), n.Endpoint(peertest.Public, nil))
		go echoSession(t.Context(), b)
		want := strings.Repeat("keys wear out. ", 100_000)
		if err := say(t.Context(), a, want); err != nil {
			t.Fatal(err)
		}
		sa, sb := a.Stats(), b.Stats()
		if sa.KeyUpdates < 3 || sb.KeyUpdates < 3 {
			t.Errorf("%d and %d key updates in %d packets, want some, and the peer to follow", sa.KeyUpdates, sb.KeyUpdates, sa.PacketsSent)
		}
		if sa.Forged+sb.Forged > 0 {
			t.Errorf("%d and %d packets did not open", sa.Forged, sb.Forged)
		}
	})
}

func TestStream(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := pair(t)
		go func() {
			c, err := b.AcceptStream(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if c.Label() != "upper" {
				t.Errorf("label is %q", c.Label())
			}
			in, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			if _, err := io.WriteString(c, strings.ToUpper(string(in))); err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		c, err := a.OpenStream("upper")
		if err != nil {
			t.Fatal(err)
		}
		var _ net.Conn = c
		want := strings.Repeat("a stream of bytes. ", 20_000)
		if _, err := io.WriteString(c, want); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || string(got) != strings.ToUpper(want) {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(want))
		}
	})
}

func TestRelayOnlyHidesAddresses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		hidden := &peer.Config{Addresses: everybody(peer.RelayOnly)}
		ha := n.Host(peertest.Public)
		alice, bob := ha.Endpoint(hidden), n.Endpoint(peertest.Public, nil)
		settle(t)
		seen := make(map[netip.AddrPort]int) // written by the network's goroutine, read once it is quiet
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			if p.From.Addr() == ha.Addr() {
				seen[p.To]++
			}
			return peertest.Pass
		})
		a, b := meet(t, alice, bob)
		go echoSession(t.Context(), b)
		if err := say(t.Context(), a, "who am I?"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if a.Stats().Path.Kind != mobility.Relayed || b.Stats().Path.Kind != mobility.Relayed {
			t.Errorf("paths are %v and %v, want relayed", a.Stats().Path, b.Stats().Path)
		}
		if b.Stats().Path.Remote.Addr() == ha.Addr() {
			t.Error("the peer knows the address that was to be hidden")
		}
		synctest.Wait()
		for to := range seen {
			if to != n.Relay() && to != n.RelayAddr(1) { // a STUN server
				t.Errorf("a packet went to %v", to)
			}
		}
	})
}
