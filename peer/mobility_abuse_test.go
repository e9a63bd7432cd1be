// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"crypto/ed25519"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A move counts for one session, from the peer of that session, and once.
func TestMovesOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		alice, bob, mallory := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		a, b := meet(t, alice, bob)
		m, _ := meet(t, mallory, bob)
		time.Sleep(time.Second)
		mine, hers := a.IDs()
		other, _ := m.IDs()
		seq, _ := b.Told()
		move := func(id byte, session, peerSession wire.SessionID, seq uint64) *signaling.Message {
			return &signaling.Message{
				Kind: signaling.KindMove, ID: [16]byte{id}, Attempt: [16]byte{1}, Time: time.Now(),
				Session: session, PeerSession: peerSession, Seq: seq,
				Candidates: []signaling.Candidate{{Kind: signaling.CandidateSrflx, Addr: netip.MustParseAddrPort("192.0.2.1:9")}},
			}
		}
		refused := func(what string, from peer.ID, msg *signaling.Message) {
			t.Helper()
			before := bob.Stats().BadSignals
			bob.HandleSignal(from, msg)
			time.Sleep(time.Second)
			if got, _ := b.Told(); got != seq || bob.Stats().BadSignals != before+1 {
				t.Errorf("%s: list %d counts, %d messages refused; want %d and one more than %d", what, got, bob.Stats().BadSignals, seq, before)
			}
		}
		refused("another peer's move", mallory.ID(), move(1, mine, hers, seq+1))
		refused("a move of another session to this one", alice.ID(), move(2, other, hers, seq+1))
		refused("a move to an unknown session", alice.ID(), move(3, mine, hers+1, seq+1))

		good := move(4, mine, hers, seq+5)
		bob.HandleSignal(alice.ID(), good)
		time.Sleep(time.Second)
		if got, addrs := b.Told(); got != seq+5 || addrs != 1 {
			t.Fatalf("list %d of %d addresses counts, want %d and 1", got, addrs, seq+5)
		}
		seq += 5
		refused("the same again", alice.ID(), good)
		bob.HandleSignal(alice.ID(), move(5, mine, hers, seq-1)) // an old list that comes late
		time.Sleep(time.Second)
		if got, _ := b.Told(); got != seq {
			t.Errorf("list %d counts after an older one came late, want %d", got, seq)
		}
		go echoSession(t.Context(), b)
		if err := say(t.Context(), a, "still here"); err != nil || a.Err() != nil {
			t.Errorf("the session after a list of nothing that works: %v, %v", err, a.Err())
		}
	})
}

// A peer cannot make an endpoint send where it should not, nor let in more than a few, whatever it tells.
func TestAddressesFromHell(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		a, b := meet(t, n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil))
		bad := []string{"127.0.0.1:9", "224.0.0.1:9", "0.0.0.0:9", "255.255.255.255:9", "169.254.169.254:80", "[::1]:9", "[ff02::1]:9"}
		sent := 0
		remove := n.Tap(func(p peertest.Packet) peertest.Verdict {
			for _, s := range bad {
				if p.To == netip.MustParseAddrPort(s) {
					sent++
				}
			}
			return peertest.Pass
		})
		for seq := uint64(100); seq < 200; seq++ {
			var list []wire.Address
			for _, s := range bad {
				list = append(list, wire.Address{Kind: wire.AddressKind(seq % 3), Addr: netip.MustParseAddrPort(s)})
			}
			for i := range wire.MaxAddresses - len(list) {
				ip := netip.AddrFrom4([4]byte{203, 0, byte(seq), byte(i + 1)})
				list = append(list, wire.Address{Kind: wire.AddressRelayed, Addr: netip.AddrPortFrom(ip, 9)})
			}
			a.SendChunk(wire.AppendAddresses(nil, seq, list))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if seq, addrs := b.Told(); seq != 199 || addrs > wire.MaxAddresses-len(bad) {
			t.Errorf("list %d with %d addresses counts, want 199 without those that nobody may be sent to", seq, addrs)
		}
		before := b.Stats().PacketsSent
		time.Sleep(10 * time.Second)
		if n := b.Stats().PacketsSent - before; n > 300 {
			t.Errorf("%d packets sent in ten seconds to addresses that a peer made up, want at most 16 challenges a second", n)
		}
		remove()
		if sent > 0 {
			t.Errorf("%d packets went to addresses that nobody may be sent to", sent)
		}
		a.SendChunk(wire.AppendChunk(nil, wire.ChunkAddresses, []byte{1, 2}))
		<-b.Done()
		if e, ok := errors.AsType[*peer.CloseError](b.Err()); !ok || e.Code != peer.CodeProtocol {
			t.Errorf("a malformed chunk: the session ended with %v, want a protocol violation", b.Err())
		}
	})
}

// Addresses that a peer no longer has are not let in at the relay any more, and none when the session is over.
func TestPermissionsFollow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
		h, bob := n.Host(peertest.Symmetric), n.Endpoint(peertest.Symmetric, nil)
		time.Sleep(time.Second)
		a, _ := meet(t, h.Endpoint(nil), bob)
		for i := range 10 {
			h.MoveTo(peertest.Symmetric)
			time.Sleep(3 * time.Second)
			if p := bob.Permitted(); p == 0 || p > 3 {
				t.Errorf("after move %d, %d addresses are let in, want one to three", i, p)
			}
		}
		time.Sleep(10 * time.Second) // so many moves take their time, and an abort is said once, by the path of that moment
		a.Abort(peer.CodeClosed, "")
		time.Sleep(10 * time.Second)
		if p := bob.Permitted(); p != 0 {
			t.Errorf("%d addresses are let in after the session, want none", p)
		}
	})
}

// A restarted peer has a session again two round trips after the answer, and ends the old one, also where it dials the
// address that it knows from before, with no rendezvous.
func TestRedial(t *testing.T) {
	for name, known := range map[string]bool{"by rendezvous": false, "by address": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: moveRTT / 4})
				bob := n.Endpoint(peertest.Public, nil)
				_, key, _ := ed25519.GenerateKey(nil)
				h := n.Host(peertest.PortRestricted)
				_, b := meet(t, h.Endpoint(&peer.Config{Key: key}), bob)
				time.Sleep(time.Second)
				h.SetDown(true) // the process dies without a word
				again := n.Host(peertest.PortRestricted).Endpoint(&peer.Config{Key: key})
				time.Sleep(time.Second)
				target := peer.Target{ID: bob.ID()}
				if known {
					target.Addrs = bob.LocalAddrs()
				}
				s, err := again.DialEarly(target)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				at := make(map[string]time.Duration)
				for _, m := range s.Stats().Timeline {
					at[m.Name] = m.At
				}
				if took := at["ready"] - at["answer"]; took > 2*moveRTT+moveRTT/2 {
					t.Errorf("ready %v after the answer, want two round trips and the proof of the other's identity: %v", took, at)
				}
				t.Logf("answer after %v, ready after %v", at["answer"], at["ready"])
				<-b.Done()
				if !errors.Is(b.Err(), peer.ErrSuperseded) {
					t.Errorf("the old session ended with %v, want ErrSuperseded", b.Err())
				}
			})
		})
	}
}
