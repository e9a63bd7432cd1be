// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/mlkem"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/dtlsx"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A stranger speaks the protocol by hand: it has a key and a place at the rendezvous, and nothing to lose.
type stranger struct {
	key      ed25519.PrivateKey
	signaler signaling.Signaler
	identity *dtlsx.Identity

	ufrag, pwd string
}

func newStranger(t *testing.T, n *peertest.Network) *stranger {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(nil)
	identity, err := dtlsx.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{key, n.Hub().Join(signaling.IDFromKey(key)), identity, "abcdefgh", "abcdefghabcdefghabcdefgh"}
	t.Cleanup(func() { _ = s.signaler.Close() })
	return s
}

// offer sends a new offer.
func (s *stranger) offer(t *testing.T, to peer.ID, attempt byte, candidates []signaling.Candidate) {
	t.Helper()
	kem, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signaling.Seal(s.key, to, &signaling.Message{
		Kind: signaling.KindOffer, Attempt: [16]byte{1, attempt}, Session: 77, Instance: [16]byte{2},
		Ufrag: s.ufrag, Pwd: s.pwd, Fingerprint: s.identity.Fingerprint(),
		KEM: kem.EncapsulationKey().Bytes(), Suites: []string{"aes128gcm", "chacha20poly1305"}, Candidates: candidates,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.signaler.Send(t.Context(), to, payload); err != nil {
		t.Fatal(err)
	}
}

// answer waits for the next answer.
func (s *stranger) answer(t *testing.T) *signaling.Message {
	t.Helper()
	for {
		env, err := s.signaler.Recv(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, m, err := signaling.Open(s.key, env.Payload); err == nil && m.Kind == signaling.KindAnswer {
			return m
		}
	}
}

// hello makes the handshake packet with a DTLS ClientHello that belongs to an answer.
func (s *stranger) hello(t *testing.T, answer *signaling.Message) []byte {
	t.Helper()
	first := make(chan []byte, 1)
	h := dtlsx.Start(t.Context(), &dtlsx.Config{
		Identity: s.identity, Client: true, RemoteFingerprint: answer.Fingerprint,
		Write: func(b []byte) {
			select {
			case first <- bytes.Clone(b):
			default:
			}
		},
	})
	b := <-first
	h.Close()
	return wire.AppendHandshake(nil, answer.Session, b, 300)
}

// A stranger names twenty addresses of a victim in its offer, sends one ClientHello, and is silent from then on.
// Handshake packets may go back to where the hello came from, at most three times as much (docs/decisions/0001); none
// may go to the addresses that were merely named (docs/PROTOCOL.md §3: the listener answers where packets come from).
func TestListenerSpraysHandshake(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		bob := n.Endpoint(peertest.Public, nil)
		s := newStranger(t, n)
		victim := netip.MustParseAddr("5.200.0.1")
		source := netip.MustParseAddrPort("5.201.0.1:4000")
		var candidates []signaling.Candidate
		for i := range 20 {
			candidates = append(candidates, signaling.Candidate{Kind: "host", Addr: netip.AddrPortFrom(victim, uint16(4000+i))})
		}
		var mu sync.Mutex
		var toSource, toVictim, checks int
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case p.To == source:
				toSource += len(p.Payload)
			case p.To.Addr() == victim && p.Payload[0] == wire.FirstHandshake:
				toVictim += len(p.Payload)
			case p.To.Addr() == victim:
				checks += len(p.Payload)
			}
			return peertest.Pass
		})
		s.offer(t, bob.ID(), 1, candidates)
		hello := s.hello(t, s.answer(t))
		n.Inject(peertest.Packet{From: source, To: bob.LocalAddrs()[0], Payload: hello})
		time.Sleep(20 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		t.Logf("a hello of %d bytes: %d bytes to its source, %d bytes of handshake and %d of checks to addresses named",
			len(hello), toSource, toVictim, checks)
		if toVictim > 0 {
			t.Errorf("%d bytes of handshake packets went to addresses that never sent one", toVictim)
		}
		if toSource == 0 || toSource > 3*len(hello) {
			t.Errorf("%d bytes went to the unproven source of %d, want at most three times as many", toSource, len(hello))
		}
	})
}

// spoofed has alice dial bob and send her last flight, and what follows until stop is called, with the address of a
// victim, who gets what bob sends there. It returns bob's session, or nil if there is none, and how many bytes seemed to
// come from the victim and were sent to it.
func spoofed(t *testing.T, n *peertest.Network) (b *peer.Session, stop func(), counts func() (from, to int)) {
	alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
	victim := netip.MustParseAddrPort("5.200.0.1:4000")
	aliceAddr, bobAddr := alice.LocalAddrs()[0], bob.LocalAddrs()[0]
	var mu sync.Mutex
	answered, stopped := false, false
	var from, to int
	n.Tap(func(p peertest.Packet) peertest.Verdict {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case p.Payload[0] < 64 && (p.To == aliceAddr && p.From == bobAddr || p.From == aliceAddr && p.To == bobAddr):
			return peertest.Drop // alice does not take part in ICE
		case p.From == bobAddr && p.To == aliceAddr && p.Payload[0] == wire.FirstHandshake:
			answered = true
		case p.From == aliceAddr && p.To == bobAddr && answered:
			if stopped {
				return peertest.Drop
			}
			q := p.Clone()
			q.From = victim
			from += len(q.Payload)
			n.Inject(q)
			return peertest.Drop
		case p.From == bobAddr && p.To == victim:
			to += len(p.Payload)
			if p.Payload[0] == wire.FirstHandshake { // alice, a modified peer, would not need these
				q := p.Clone()
				q.To = aliceAddr
				n.Inject(q)
			}
		}
		return peertest.Pass
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	go func() { _, _ = alice.Dial(ctx, bob.ID()) }()
	b, err := bob.Accept(ctx)
	if err != nil {
		t.Logf("no session: %v", err)
		return nil, nil, nil
	}
	stop = func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
	}
	counts = func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return from, to
	}
	return b, stop, counts
}

// A peer completes the handshake and sends its last flight, and everything after it, with the address of a victim.
// Until that address has answered a challenge it may be sent three times what came from it (docs/PROTOCOL.md §8).
func TestFirstPathIsNotProven(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		b, stop, counts := spoofed(t, n)
		if b == nil {
			return // as good
		}
		stop()
		from, to := counts()
		t.Logf("established: %d bytes from the victim's address, %d to it; path %v", from, to, b.Stats().Path)
		f, err := b.OpenFlow("bulk", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			if _, err := f.TrySend(make([]byte, 16<<10)); err != nil {
				break
			}
		}
		time.Sleep(40 * time.Second)
		if from, to = counts(); to > 3*from+600 { // and a few challenges
			t.Errorf("%d bytes went to an address that never answered, of which %d seemed to come; want at most three times as many", to, from)
		}
	})
}

// While nothing may be sent to an address that has not proven itself, deadlines are kept all the same, and what the
// application gives up is given up.
func TestDeadlinesOnAPathThatIsNotProven(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		b, stop, counts := spoofed(t, n)
		if b == nil {
			t.Fatal("the attack did not take place")
		}
		stop()
		f, err := b.OpenFlow("bulk", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.TrySend(make([]byte, 256<<10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // all that may be sent has been
		_, before := counts()

		late, err := f.TrySend([]byte("late"), flow.FinishWithin(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		withdrawn, err := f.TrySend([]byte("withdrawn"))
		if err != nil {
			t.Fatal(err)
		}
		withdrawn.Abandon()
		time.Sleep(time.Millisecond)
		if withdrawn.Reason() != flow.Withdrawn {
			t.Errorf("a message withdrawn is %v (%v), want it given up at once", withdrawn.Outcome(), withdrawn.Reason())
		}
		time.Sleep(time.Second)
		if late.Reason() != flow.FinishDeadline {
			t.Errorf("a message is %v (%v) after its deadline, want it given up", late.Outcome(), late.Reason())
		}
		if st := b.Stats().Flow; st.ProbeTimeouts > 6 {
			t.Errorf("%d probe timeouts while no probe may be sent", st.ProbeTimeouts)
		}
		if _, after := counts(); after > before+600 {
			t.Errorf("%d bytes were sent meanwhile; is the path limited at all?", after-before)
		}
	})
}

// With RelayOnly a peer that guesses the address of this host must not be able to confirm it: a handshake packet that
// reaches the endpoint's own socket is not answered from there.
func TestRelayOnlyAnswersOnItsOwnSocket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond})
		host := n.Host(peertest.Public)
		alice := host.Endpoint(&peer.Config{Addresses: everybody(peer.RelayOnly)})
		bob := n.Endpoint(peertest.Public, nil)
		bobAddr := bob.LocalAddrs()[0]
		var mu sync.Mutex
		var aliceAddr netip.AddrPort
		leaked, probed := 0, 0
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			mu.Lock()
			defer mu.Unlock()
			if p.From.Addr() == host.Addr() && p.To == n.Relay() {
				aliceAddr = p.From // how bob has guessed it does not matter
			}
			if p.From.Addr() == host.Addr() && p.To == bobAddr {
				leaked++
			}
			if p.From == bobAddr && p.To.Addr() == n.Relay().Addr() && p.Payload[0] == wire.FirstHandshake && aliceAddr.IsValid() {
				q := p.Clone()
				q.To = aliceAddr
				probed++
				n.Inject(q)
			}
			return peertest.Pass
		})
		settle(t)
		s, err := bob.Dial(t.Context(), alice.ID())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if probed == 0 {
			t.Fatal("the attack did not take place")
		}
		if leaked > 0 {
			t.Errorf("%d packets left the hidden host's own socket for the peer; bob's path is %+v", leaked, s.Stats().Path)
		}
	})
}

// Nor does it take protected packets there: their acknowledgement by the relay would confirm the guess as well.
func TestRelayOnlyTakesPacketsOnItsOwnSocket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond})
		host := n.Host(peertest.Public)
		alice := host.Endpoint(&peer.Config{Addresses: everybody(peer.RelayOnly)})
		_, key, _ := ed25519.GenerateKey(nil)
		adv := &advisor{Signaler: n.Hub().Join(signaling.IDFromKey(key))}
		adv.none.Store(true)
		bob := n.Endpoint(peertest.Public, &peer.Config{Key: key, Signaler: adv})
		var mu sync.Mutex
		var aliceAddr netip.AddrPort
		attack := false
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			mu.Lock()
			defer mu.Unlock()
			if p.From.Addr() == host.Addr() && p.To == n.Relay() {
				aliceAddr = p.From
			}
			if attack && p.From == bob.LocalAddrs()[0] {
				if p.Payload[0] >= 192 {
					q := p.Clone()
					q.To = aliceAddr
					n.Inject(q)
				}
				return peertest.Drop // nothing gets through by a relay
			}
			return peertest.Pass
		})
		settle(t)
		b, a := meet(t, bob, alice)
		go echoSession(t.Context(), a)
		time.Sleep(5 * time.Second)
		mu.Lock()
		attack = true
		mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := say(ctx, b, "are you there?"); err == nil {
			t.Error("the hidden host reacts to packets that reach its own socket")
		}
	})
}

// The peer that is dialled names twenty addresses of a victim. What it makes the dialler send there is bounded.
func TestDialledPeerNamesAddresses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		alice := n.Endpoint(peertest.Public, nil)
		s := newStranger(t, n)
		victim := netip.MustParseAddr("5.200.0.1")
		var mu sync.Mutex
		handshake, checks := 0, 0
		n.Tap(func(p peertest.Packet) peertest.Verdict {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case p.To.Addr() == victim && p.Payload[0] == wire.FirstHandshake:
				handshake += len(p.Payload)
			case p.To.Addr() == victim:
				checks += len(p.Payload)
			}
			return peertest.Pass
		})
		go func() { _, _ = alice.Dial(t.Context(), signaling.IDFromKey(s.key)) }()
		env, err := s.signaler.Recv(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, offer, err := signaling.Open(s.key, env.Payload)
		if err != nil {
			t.Fatal(err)
		}
		m := &signaling.Message{
			Kind: signaling.KindAnswer, Attempt: offer.Attempt, Session: 77, Instance: [16]byte{2},
			Ufrag: "abcdefgh", Pwd: "abcdefghabcdefghabcdefgh", Fingerprint: s.identity.Fingerprint(),
			KEM: make([]byte, 1088), Suites: offer.Suites[:1],
		}
		for i := range 20 {
			m.Candidates = append(m.Candidates, signaling.Candidate{Kind: "host", Addr: netip.AddrPortFrom(victim, uint16(4000+i))})
		}
		payload, err := signaling.Seal(s.key, alice.ID(), m)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.signaler.Send(t.Context(), alice.ID(), payload); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		t.Logf("an answer of %d bytes: %d bytes of handshake and %d of checks to addresses named", len(payload), handshake, checks)
		if handshake > 100<<10 {
			t.Errorf("%d bytes of handshake packets went to addresses that never answered, want at most 100 KiB", handshake)
		}
	})
}

// Repeated offers of one peer while its first is being answered must not pile up state.
func TestRepeatedOffersPileUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		bob := n.Endpoint(peertest.Public, nil)
		s := newStranger(t, n)
		for i := range 100 {
			s.offer(t, bob.ID(), byte(i), []signaling.Candidate{{Kind: "host", Addr: netip.MustParseAddrPort("5.200.0.1:4000")}})
		}
		time.Sleep(time.Second)
		if _, sessions, attempts, inbound, routes := bob.Sizes(); routes > 2 || attempts > 2 || sessions > 1 || inbound > 1 {
			t.Errorf("%d sessions, %d attempts, %d inbound, %d routes for one peer; want 1, 1, 1 and at most 2",
				sessions, attempts, inbound, routes)
		}
	})
}

// A spoofed Retry from an address that was never dialled must not make a dial fail, nor may a Retry of one listed
// address that leads nowhere keep the others from being used.
func TestRetryHijacksDial(t *testing.T) {
	for _, listed := range []bool{false, true} {
		t.Run(fmt.Sprintf("listed=%v", listed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, NoRelay: true})
				alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
				bogus := netip.MustParseAddrPort("5.200.0.1:4000")
				addrs := bob.LocalAddrs()
				if listed {
					addrs = append(addrs, bogus)
				}
				n.Tap(func(p peertest.Packet) peertest.Verdict {
					if p.Payload[0] == wire.FirstInit {
						b := append([]byte{wire.FirstRetry, 1}, p.Payload[2:18]...)
						n.Inject(peertest.Packet{From: bogus, To: p.From, Payload: append(b, make([]byte, 24)...)})
					}
					return peertest.Pass
				})
				if _, err := alice.DialTarget(t.Context(), peer.Target{ID: bob.ID(), Addrs: addrs}); err != nil {
					t.Errorf("dial: %v", err)
				}
			})
		})
	}
}
