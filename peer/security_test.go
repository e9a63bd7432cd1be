// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// An impostor who holds everything but the victim's private key gets through signaling (here: by signing offers
// and answers with the victim's key, as if that had leaked to the rendezvous) and through DTLS, and still fails at
// the proof inside the channel.
func TestImpostorCannotProveIdentity(t *testing.T) {
	for _, dials := range []bool{true, false} {
		t.Run(fmt.Sprintf("impostor dials=%v", dials), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, nil)
				_, other, _ := ed25519.GenerateKey(nil)
				var c peer.Config
				c.ProveWith(other)
				impostor, victim := n.Endpoint(peertest.Public, &c), n.Endpoint(peertest.Public, nil)
				if !dials {
					_, err := victim.Dial(t.Context(), impostor.ID())
					if !errors.Is(err, peer.ErrIdentity) {
						t.Errorf("dial: %v, want ErrIdentity", err)
					}
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				// The victim proves itself first, so the impostor's own end stands for a moment.
				if s, err := impostor.Dial(ctx, victim.ID()); err == nil {
					<-s.Done()
					if !errors.Is(s.Err(), peer.ErrIdentity) {
						t.Errorf("the impostor's session ended with %v, want ErrIdentity", s.Err())
					}
				}
				if s, err := victim.Accept(ctx); err == nil {
					t.Errorf("the victim accepted a session with %v", s.Peer())
				}
			})
		})
	}
}

// A signaler that the rendezvous's operator has tampered with.
type evilSignaler struct {
	signaling.Signaler
	send func(ctx context.Context, to peer.ID, payload []byte) error
}

func (s *evilSignaler) Send(ctx context.Context, to peer.ID, payload []byte) error {
	return s.send(ctx, to, payload)
}

func TestRendezvousCannotSwapPeers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		_, aliceKey, _ := ed25519.GenerateKey(nil)
		bob, mallory := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		hub := n.Hub().Join(signaling.IDFromKey(aliceKey))
		alice := n.Endpoint(peertest.Public, &peer.Config{Key: aliceKey, Signaler: &evilSignaler{
			hub,
			func(ctx context.Context, _ peer.ID, payload []byte) error {
				return hub.Send(ctx, mallory.ID(), payload) // everything meant for bob goes to mallory
			},
		}})
		if _, err := alice.Dial(t.Context(), bob.ID()); !errors.Is(err, peer.ErrNoAnswer) {
			t.Errorf("dial: %v, want ErrNoAnswer", err)
		}
		if mallory.Dropped() == 0 {
			t.Error("mallory dropped nothing: the attack did not take place")
		}
	})
}

// The rendezvous answers an offer to bob with an answer that mallory has signed.
func TestRendezvousCannotAnswerForAPeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		_, bobKey, _ := ed25519.GenerateKey(nil)
		_, malloryKey, _ := ed25519.GenerateKey(nil)
		_, aliceKey, _ := ed25519.GenerateKey(nil)
		aliceID, bobID := signaling.IDFromKey(aliceKey), signaling.IDFromKey(bobKey)
		hub := n.Hub().Join(aliceID)
		forger := n.Hub().Join(signaling.IDFromKey(malloryKey))
		var forged atomic.Int32
		alice := n.Endpoint(peertest.Public, &peer.Config{Key: aliceKey, Signaler: &evilSignaler{
			hub,
			func(ctx context.Context, _ peer.ID, payload []byte) error {
				// Even an operator who could read the offer cannot sign for bob.
				_, offer, err := signaling.Open(bobKey, payload)
				if err != nil {
					return err
				}
				if offer.Kind != signaling.KindOffer {
					return nil
				}
				m := *offer
				m.Kind, m.ID, m.Suites = signaling.KindAnswer, [16]byte{1}, offer.Suites[:1]
				m.KEM = make([]byte, 1088)
				answer, err := signaling.Seal(malloryKey, aliceID, &m)
				if err != nil {
					return err
				}
				forged.Add(1)
				return forger.Send(ctx, aliceID, answer)
			},
		}})
		if _, err := alice.Dial(t.Context(), bobID); !errors.Is(err, peer.ErrNoAnswer) {
			t.Errorf("dial: %v, want ErrNoAnswer", err)
		}
		if forged.Load() == 0 || alice.Dropped() == 0 {
			t.Error("the attack did not take place")
		}
		_ = forger.Close()
	})
}

// The rendezvous changes a bit of an offer, somewhere: another candidate, another fingerprint, anything.
func TestRendezvousCannotChangeOffers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		_, aliceKey, _ := ed25519.GenerateKey(nil)
		bob := n.Endpoint(peertest.Public, nil)
		hub := n.Hub().Join(signaling.IDFromKey(aliceKey))
		rng := mathrand.New(mathrand.NewPCG(5, 6))
		alice := n.Endpoint(peertest.Public, &peer.Config{Key: aliceKey, Signaler: &evilSignaler{
			hub,
			func(ctx context.Context, to peer.ID, payload []byte) error {
				changed := bytes.Clone(payload)
				changed[rng.IntN(len(changed))] ^= 1 << rng.IntN(8)
				return hub.Send(ctx, to, changed)
			},
		}})
		if _, err := alice.Dial(t.Context(), bob.ID()); !errors.Is(err, peer.ErrNoAnswer) {
			t.Errorf("dial: %v, want ErrNoAnswer", err)
		}
		if _, sessions, _, _, _ := bob.Sizes(); sessions != 0 || bob.Dropped() < 3 {
			t.Errorf("bob has %d sessions and dropped %d messages, want 0 and all of them", sessions, bob.Dropped())
		}
	})
}

func TestReplayedOfferStartsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		_, aliceKey, _ := ed25519.GenerateKey(nil)
		bob := n.Endpoint(peertest.Public, nil)
		hub := n.Hub().Join(signaling.IDFromKey(aliceKey))
		var offer []byte
		alice := n.Endpoint(peertest.Public, &peer.Config{Key: aliceKey, Signaler: &evilSignaler{
			hub,
			func(ctx context.Context, to peer.ID, payload []byte) error {
				if offer == nil {
					offer = bytes.Clone(payload)
				}
				return hub.Send(ctx, to, payload)
			},
		}})
		a, b := meet(t, alice, bob)
		time.Sleep(11 * time.Second) // the setup is forgotten
		for range 5 {
			if err := hub.Send(t.Context(), bob.ID(), offer); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if a.Err() != nil || b.Err() != nil {
			t.Errorf("the session ended: %v, %v", a.Err(), b.Err())
		}
		if _, sessions, _, inbound, _ := bob.Sizes(); sessions != 1 || inbound != 0 {
			t.Errorf("bob has %d sessions and %d being established, want 1 and 0", sessions, inbound)
		}
	})
}

// Every packet of the session is followed by copies of it: replayed, reflected, truncated, with a bit flipped, and
// replayed from a third address. None may have an effect.
func TestTamperedPackets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		a, b := meet(t, n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil))
		go echoSession(t.Context(), b)
		third := netip.MustParseAddrPort("5.200.0.1:4000")
		rng := mathrand.New(mathrand.NewPCG(1, 2))
		var tampered atomic.Int64
		remove := n.Tap(func(p peertest.Packet) peertest.Verdict {
			if len(p.Payload) == 0 || p.Payload[0] < 192 {
				return peertest.Pass
			}
			tampered.Add(1)
			q := p.Clone()
			n.Inject(q) // replayed
			n.Inject(peertest.Packet{From: q.To, To: q.From, Payload: q.Payload})
			n.Inject(peertest.Packet{From: third, To: q.To, Payload: q.Payload})
			n.Inject(peertest.Packet{From: q.From, To: q.To, Payload: q.Payload[:rng.IntN(len(q.Payload))]})
			flipped := q.Clone()
			flipped.Payload[rng.IntN(len(q.Payload))] ^= 1 << rng.IntN(8)
			n.Inject(flipped)
			return peertest.Pass
		})
		defer remove()
		for i := range 100 {
			if err := say(t.Context(), a, fmt.Sprint("message ", i)); err != nil {
				t.Fatal(err)
			}
		}
		sa, sb := a.Stats(), b.Stats()
		if tampered.Load() < 200 || sa.Replayed == 0 || sa.Forged == 0 || sb.Replayed == 0 || sb.Forged == 0 {
			t.Errorf("the attack did not take place: %d packets, %+v", tampered.Load(), sa)
		}
		if sa.PathChanges != 0 || sb.PathChanges != 0 {
			t.Errorf("the session moved: %+v, %+v", sa.Path, sb.Path)
		}
	})
}

// Alerts and records that an on-path attacker writes, bare and inside handshake packets with the right session ID,
// end nothing: DTLS 1.2 does not authenticate them, so nothing of DTLS is listened to after the handshake.
func TestSpoofedDTLSAfterHandshake(t *testing.T) {
	alert := mustHex("15fefd00000000000000070002020a")         // epoch 0, fatal, unexpected message
	appData := mustHex("17fefd0000000000000008000568656c6c6f") // epoch 0 application data
	hello := mustHex("16fefd0000000000000009000c010000000000000000000000")
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		var heads []peertest.Packet // one handshake packet for each direction, to take the session ID from
		seen := map[netip.AddrPort]bool{}
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			if len(p.Payload) > 11 && p.Payload[0] == 0xe0 && !seen[p.To] {
				seen[p.To] = true
				heads = append(heads, p.Clone())
			}
			return peertest.Pass
		})
		a, b := meet(t, n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil))
		go echoSession(t.Context(), b)
		if len(heads) < 2 {
			t.Fatalf("saw handshake packets to %d endpoints, want 2", len(heads))
		}
		for _, h := range heads {
			for range 500 {
				for _, rec := range [][]byte{alert, appData, hello} {
					n.Inject(peertest.Packet{From: h.From, To: h.To, Payload: rec})
					wrapped := append(bytes.Clone(h.Payload[:9]), byte(len(rec)>>8), byte(len(rec)))
					n.Inject(peertest.Packet{From: h.From, To: h.To, Payload: append(wrapped, rec...)})
				}
			}
		}
		time.Sleep(time.Second)
		if err := say(t.Context(), a, "still here"); err != nil {
			t.Error(err)
		}
		if a.Err() != nil || b.Err() != nil {
			t.Errorf("the session ended: %v, %v", a.Err(), b.Err())
		}
	})
}

// The 32-byte message that makes pion/stun panic (GHSA-34rh-wp3j-6cxc) never reaches it.
func TestSTUNPanicDatagram(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		settle(t)
		a, b := meet(t, alice, bob)
		go echoSession(t.Context(), b)
		for _, typ := range []uint16{0x0001, 0x0101, 0x0016, 0x0017, 0x0111} {
			for _, attr := range []uint16{0x0020, 0x0012, 0x0016} {
				d := mustHex("0000000c2112a442000000000000000000000000")
				d[0], d[1] = byte(typ>>8), byte(typ)
				d = append(d, byte(attr>>8), byte(attr), 0, 0, 0x80, 0x28, 0, 4, 0, 0, 0, 0)
				for _, from := range []netip.AddrPort{n.Relay(), netip.MustParseAddrPort("5.99.0.1:1000")} {
					for _, e := range []*peer.Endpoint{alice, bob} {
						n.Inject(peertest.Packet{From: from, To: e.LocalAddrs()[0], Payload: d})
					}
				}
				n.Inject(peertest.Packet{From: alice.LocalAddrs()[0], To: n.Relay(), Payload: d})
			}
		}
		time.Sleep(time.Second)
		if err := say(t.Context(), a, "still here"); err != nil {
			t.Error(err)
		}
		if alice.Dropped() == 0 {
			t.Error("nothing was dropped: the attack did not take place")
		}
		if _, err := n.Endpoint(peertest.Symmetric, nil).Dial(t.Context(), bob.ID()); err != nil {
			t.Errorf("a new dial, relay included: %v", err)
		}
	})
}

// A hundred thousand first packets of every kind from invented addresses leave nothing behind.
func TestSpoofedFirstPackets(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(nil)
	sink := &sinkNetwork{}
	e, err := peer.Listen(t.Context(), &peer.Config{Key: key, Network: sink})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	packet := make([]byte, 1200)
	rng := mathrand.New(mathrand.NewPCG(3, 4))
	flood := func(count int) {
		for i := range count {
			_, _ = rand.Read(packet[:64])
			packet[0] = []byte{0xe1, 0xe3, 0xe0, 0xc1, 0xe2, 0xe4}[i%6]
			packet[1] = 1
			b := packet[:128]
			if packet[0] == 0xe1 { // those who know the ID get as far as a cookie
				tagInit(b, e.ID())
			}
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, byte(rng.Uint32()), byte(rng.Uint32()), byte(i)}), uint16(rng.Uint32()|1))
			sink.deliver(b, from)
		}
	}
	flood(1000)
	before := heap()
	flood(100_000)
	if grown := int64(heap()) - int64(before); grown > 10<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	} else {
		t.Logf("the heap has grown by %d bytes; %d cookies handed out, %d packets dropped", grown, sink.written.Load(), e.Dropped())
	}
	if sink.written.Load() == 0 || sink.read.Load() < 101_000 {
		t.Errorf("the attack did not take place: %d read, %d answered", sink.read.Load(), sink.written.Load())
	}
	if sink.bytesOut.Load() > sink.bytesIn.Load() {
		t.Errorf("%d bytes in made %d bytes out", sink.bytesIn.Load(), sink.bytesOut.Load())
	}
	if peers, sessions, attempts, inbound, routes := e.Sizes(); peers+sessions+attempts+inbound+routes != 0 {
		t.Errorf("left behind: %d peers, %d sessions, %d attempts, %d inbound, %d routes", peers, sessions, attempts, inbound, routes)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
