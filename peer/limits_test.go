// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"crypto/ed25519"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/dtlsx"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A peer that has a session asks for many in its place at once. It must not use up what is there for all peers.
func TestOnePeerTakesAllHandshakes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		_, key, _ := ed25519.GenerateKey(nil)
		hub := n.Hub().Join(signaling.IDFromKey(key))
		mallory := n.Endpoint(peertest.Public, &peer.Config{Key: key, Signaler: hub})
		bob, carol := n.Endpoint(peertest.Public, &peer.Config{MaxHandshakes: 8}), n.Endpoint(peertest.Public, nil)
		meet(t, mallory, bob)
		time.Sleep(time.Second)
		identity, err := dtlsx.NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		s := &stranger{key, hub, identity, "abcdefgh", "abcdefghabcdefghabcdefgh"}
		for i := range 20 {
			s.offer(t, bob.ID(), byte(i), []signaling.Candidate{{Kind: "host", Addr: netip.MustParseAddrPort("5.200.0.1:4000")}})
		}
		_, sessions, _, inbound, _ := bob.Sizes()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := carol.Dial(ctx, bob.ID()); err != nil {
			t.Errorf("a third peer's dial: %v; bob has %d sessions, %d of them being established by one peer", err, sessions, inbound)
		}
	})
}

// An advisor can take relays away and bring them back.
type advisor struct {
	signaling.Signaler
	none atomic.Bool
}

func (a *advisor) Services(ctx context.Context) (signaling.Services, error) {
	sv, err := a.Signaler.Services(ctx)
	sv.Expires = time.Now().Add(6 * time.Second)
	if a.none.Load() {
		sv.Relays = nil
	}
	return sv, err
}

// The relay goes away for a few seconds in the middle of a transfer and the endpoint gets another allocation. While
// there is no path the session's loop must not spin (in virtual time it would never come to an end), and when there is
// one again the session must use it.
func TestSessionSurvivesNewRelayAllocation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		_, key, _ := ed25519.GenerateKey(nil)
		adv := &advisor{Signaler: n.Hub().Join(signaling.IDFromKey(key))}
		hidden := everybody(peer.RelayOnly)
		alice := n.Endpoint(peertest.Public, &peer.Config{Key: key, Signaler: adv, Addresses: hidden})
		bob := n.Endpoint(peertest.Public, &peer.Config{Addresses: hidden})
		settle(t)
		a, b := meet(t, alice, bob)
		go func() {
			in, err := b.AcceptFlow(t.Context())
			if err != nil {
				return
			}
			for range in.Messages(t.Context()) {
			}
		}()
		time.Sleep(20 * time.Second)
		f, err := a.OpenFlow("bulk", nil)
		if err != nil {
			t.Fatal(err)
		}
		adv.none.Store(true)
		for range 100 {
			if _, err := f.TrySend(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		adv.none.Store(false)
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, err := f.Send(ctx, []byte("back"))
		if err == nil {
			err = r.Wait(ctx)
		}
		if err != nil {
			t.Errorf("%v; the session: %v, paths %+v", err, a.Err(), a.Stats().Paths)
		}
	})
}

// Strangers name many addresses in their offers. The permissions at the relay that this takes must not keep a peer that
// can be reached by the relay only from being reached.
func TestStrangersTakeAllPermissions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond})
		bob, carol := n.Endpoint(peertest.Symmetric, nil), n.Endpoint(peertest.Symmetric, nil)
		settle(t)
		for i := range 13 {
			s := newStranger(t, n)
			var candidates []signaling.Candidate
			for k := range 20 {
				addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 200, byte(i), byte(k + 1)}), 4000)
				candidates = append(candidates, signaling.Candidate{Kind: "host", Addr: addr})
			}
			s.offer(t, bob.ID(), byte(i), candidates)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := carol.Dial(ctx, bob.ID()); err != nil {
			t.Errorf("dial: %v, after 13 offers of strangers", err)
		}
	})
}

// Sessions that ended before they were accepted must not take the places of those that live.
func TestDeadSessionsFillBacklog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, &peer.Config{Backlog: 2})
		for range 2 {
			s, err := alice.Dial(t.Context(), bob.ID())
			if err != nil {
				t.Fatal(err)
			}
			s.Abort(2000, "on second thoughts")
			<-s.Done()
			time.Sleep(time.Second)
		}
		s, err := alice.Dial(t.Context(), bob.ID())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s.Err() != nil {
			t.Errorf("the only living session ended: %v", s.Err())
		}
	})
}

// A second Close has a context of its own: when that ends the endpoint closes at once.
func TestSecondCloseIsUrgent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		h := n.Host(peertest.Public)
		bob := n.Endpoint(peertest.Public, nil)
		alice := h.Endpoint(nil)
		a, _ := meet(t, alice, bob)
		h.SetDown(true)
		f, err := a.OpenFlow("stuck", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.TrySend([]byte("never arrives")); err != nil {
			t.Fatal(err)
		}
		first := make(chan struct{})
		go func() {
			_ = alice.Close(context.Background())
			close(first)
		}()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_ = alice.Close(ctx)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("the second Close took %v, want no more than its context of 1s and a little", took)
		}
		<-first
	})
}

// A peer whose first try came from other addresses, as before it changed networks, is reached by the relay on its next
// try, though the first has not been given up.
func TestRetryFromNewAddressesUsesRelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond})
		bob := n.Endpoint(peertest.Symmetric, nil)
		settle(t)
		before := newStranger(t, n)
		var candidates []signaling.Candidate
		for i := range 4 {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 200, 0, byte(i + 1)}), 4000)
			candidates = append(candidates, signaling.Candidate{Kind: "srflx", Addr: addr})
		}
		before.offer(t, bob.ID(), 1, candidates)
		before.answer(t)
		after := n.Endpoint(peertest.Symmetric, &peer.Config{Key: before.key})
		settle(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := after.Dial(ctx, bob.ID()); err != nil {
			t.Errorf("dial: %v", err)
		}
	})
}

// When the clock is set back, messages must not go on bearing times of what is now the future: peers refuse them when
// they are more than five minutes ahead.
func TestClockSetBack(t *testing.T) {
	e, err := peer.Listen(t.Context(), &peer.Config{Network: &sinkNetwork{}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	now := time.Now()
	e.Stamp(now.Add(time.Hour))
	if got := e.Stamp(now); got.Sub(now) > time.Minute {
		t.Errorf("a message made at %v is stamped %v, %v ahead", now, got, got.Sub(now))
	}
}
