// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
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
		if took := time.Since(start); took < 15*time.Second || took > 31*time.Second {
			t.Errorf("took %v, want at most the idle timeout of 30s", took)
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

func TestRelayOnlyHidesAddresses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		hidden := &peer.Config{Policy: mobility.Policy{RelayOnly: true}}
		ha := n.Host(peertest.Public)
		alice, bob := ha.Endpoint(hidden), n.Endpoint(peertest.Public, nil)
		settle(t)
		seen := make(map[netip.Addr]int) // written by the network's goroutine, read once it is quiet
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			if p.From.Addr() == ha.Addr() {
				seen[p.To.Addr()]++
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
			if to != n.Relay().Addr() {
				t.Errorf("a packet went to %v", to)
			}
		}
	})
}
