// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// wantForgotten waits for a session to end because the peer does not have it any more.
func wantForgotten(t *testing.T, s *peer.Session, most time.Duration) {
	t.Helper()
	start := time.Now()
	<-s.Done()
	took := time.Since(start)
	e, ok := errors.AsType[*peer.CloseError](s.Err())
	if !ok || e.Code != peer.CodeForgotten || !e.Remote || !errors.Is(s.Err(), peer.ErrSuperseded) {
		t.Errorf("ended with %v, want ErrSuperseded because the peer has forgotten the session", s.Err())
	}
	if took > most {
		t.Errorf("ended after %v, want %v at most", took, most)
	}
	t.Logf("%v after %v", s.Err(), took)
}

// A process that was restarted and dials nobody: its peers learn that the sessions are gone as soon as they miss it.
func TestRestartedPeerHasForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		_, key, _ := ed25519.GenerateKey(nil)
		h := n.Host(peertest.PortRestricted)
		_, b := meet(t, h.Endpoint(&peer.Config{Key: key}), n.Endpoint(peertest.PortRestricted, nil))
		time.Sleep(15 * time.Second)
		h.SetDown(true) // the process dies without a word
		n.Host(peertest.PortRestricted).Endpoint(&peer.Config{Key: key})
		out, err := b.OpenFlow("x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Send(t.Context(), []byte("are you there?")); err != nil {
			t.Fatal(err)
		}
		wantForgotten(t, b, 3*time.Second) // what an outage takes to be noticed, and a round trip of signaling
	})
}

// A host that comes back when its peer has long given the session up ends it in about a second, and not after Linger.
func TestBackAfterLinger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		h := n.Host(peertest.PortRestricted)
		a, b := meet(t, h.Endpoint(&peer.Config{Linger: time.Hour}), n.Endpoint(peertest.PortRestricted, nil))
		h.SetOffline(true)
		<-b.Done()
		time.Sleep(10 * time.Minute)
		if err := a.Err(); err != nil {
			t.Fatalf("ended with %v while nothing could be heard, before Linger", err)
		}
		h.SetOffline(false)
		wantForgotten(t, a, 2*time.Second)
	})
}

// That a session is gone counts only if its peer says so, of this session, when it has been asked and is silent.
func TestGoneOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		h := n.Host(peertest.Public)
		alice, bob, mallory := n.Endpoint(peertest.Public, nil), h.Endpoint(nil), n.Endpoint(peertest.Public, nil)
		a, b := meet(t, alice, bob)
		m, _ := meet(t, mallory, alice)
		time.Sleep(15 * time.Second)
		local, remote := a.IDs()
		_, other := m.IDs()
		attempt := a.Attempt()
		id := byte(0)
		refused := func(what string, from peer.ID, session, peerSession wire.SessionID, attempt [16]byte) {
			t.Helper()
			id++
			before := alice.Stats().BadSignals
			alice.HandleSignal(from, &signaling.Message{
				Kind: signaling.KindGone, ID: [16]byte{id}, Attempt: attempt, Time: time.Now(),
				Session: session, PeerSession: peerSession,
			})
			time.Sleep(20 * time.Millisecond)
			if a.Err() != nil || m.Err() != nil || alice.Stats().BadSignals != before+1 {
				t.Fatalf("%s: sessions ended with %v and %v, %d messages refused; want one more than %d and nothing else",
					what, a.Err(), m.Err(), alice.Stats().BadSignals, before)
			}
		}
		refused("nobody asked", bob.ID(), remote, local, attempt)
		bob.NetworkChanged()
		alice.NetworkChanged()
		time.Sleep(time.Second)
		refused("asked, and heard since", bob.ID(), remote, local, attempt)
		h.SetDown(true) // signaling works: alice asks, and bob says nothing of the kind
		alice.NetworkChanged()
		time.Sleep(5 * time.Second)
		refused("another peer", mallory.ID(), remote, local, attempt)
		refused("another peer's session", bob.ID(), remote, other, attempt)
		refused("another session of the peer", bob.ID(), remote+1, local, attempt)
		refused("another attempt", bob.ID(), remote, local, [16]byte{9})
		if b.Err() != nil {
			t.Errorf("bob's end: %v", b.Err())
		}
		alice.HandleSignal(bob.ID(), &signaling.Message{
			Kind: signaling.KindGone, ID: [16]byte{100}, Attempt: attempt, Time: time.Now(), Session: remote, PeerSession: local,
		})
		wantForgotten(t, a, time.Second)
	})
}

// Whoever asks after sessions that there never were gets few answers.
func TestGoneIsLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		bob, mallory := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		time.Sleep(time.Second)
		before := bob.Stats()
		const asked = 1000
		for i := range asked {
			bob.HandleSignal(mallory.ID(), &signaling.Message{
				Kind: signaling.KindMove, ID: [16]byte{byte(i), byte(i >> 8), 1}, Attempt: [16]byte{1}, Time: time.Now(),
				Session: 1, PeerSession: wire.SessionID(i + 1), Seq: 1,
			})
		}
		time.Sleep(time.Second)
		st := bob.Stats()
		answers := mallory.Stats().BadSignals
		if answers == 0 || answers > 64 || st.BadSignals-before.BadSignals != asked {
			t.Errorf("%d answers to %d questions, %+v; want at most 64, and the questions counted", answers, asked, st)
		}
	})
}

// A process that was stopped for longer than Linger has not asked the peer for anything meanwhile. It goes on if the peer
// still has the session, and ends it at once if not.
func TestStoppedProcess(t *testing.T) {
	for name, peers := range map[string]time.Duration{"the peer has waited": time.Hour, "the peer has not": time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
				h := n.Host(peertest.PortRestricted)
				a, b := meet(t, h.Endpoint(nil), n.Endpoint(peertest.PortRestricted, &peer.Config{Linger: peers}))
				time.Sleep(20 * time.Second)
				h.SetOffline(true) // packets that wait in the socket would tell
				a.Suspend(10 * time.Minute)
				time.Sleep(10*time.Minute - time.Second)
				h.SetOffline(false)
				time.Sleep(time.Second)
				if peers < time.Hour {
					wantForgotten(t, a, 2*time.Second)
					return
				}
				go echoSession(t.Context(), b)
				start := time.Now()
				if err := say(t.Context(), a, "where was I?"); err != nil {
					t.Fatalf("after ten minutes: %v", err)
				}
				if took := time.Since(start); took > 4*moveRTT {
					t.Errorf("a message and its answer took %v, want four round trips at most", took)
				}
				time.Sleep(3 * time.Minute)
				if a.Err() != nil || b.Err() != nil {
					t.Errorf("later: %v, %v", a.Err(), b.Err())
				}
			})
		})
	}
}
