// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"testing"
)

// sendAll seals n packets at from and opens them at to, acknowledging each at once.
func (p *pair) sendAll(why string, from, to *Session, n int) {
	p.t.Helper()
	for range n {
		p.wantOpen(why, to, p.seal(from, "x"))
		from.HandleAcked(from.NextPN() - 1)
	}
}

func (p *pair) wantPhases(why string, sendA, recvA, sendB, recvB uint64) {
	p.t.Helper()
	got := [4]uint64{p.a.send.phase, p.a.recv.phase, p.b.send.phase, p.b.recv.phase}
	if want := [4]uint64{sendA, recvA, sendB, recvB}; got != want {
		p.t.Fatalf("%s: phases (send, recv of initiator; send, recv of responder) = %v, want %v", why, got, want)
	}
}

func TestUpdateByEitherSide(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite Suite) {
		for _, side := range []Role{Initiator, Responder} {
			t.Run("side="+side.String(), func(t *testing.T) {
				p := newPair(t, suite, &Config{RekeyAfter: 4})
				from, to := p.a, p.b
				if side == Responder {
					from, to = to, from
				}
				p.sendAll("phase 0", from, to, 4)
				if !from.KeyPhase() || to.KeyPhase() {
					t.Fatal("after RekeyAfter acknowledged packets the sender, and only it, must be in the next phase")
				}
				p.wantOpen("first packet of the new phase", to, p.seal(from, "x"))
				if !to.KeyPhase() {
					t.Fatal("the peer did not follow the update")
				}
				p.wantOpen("first packet of the follower", from, p.seal(to, "y"))
				p.wantPhases("after one update", 1, 1, 1, 1)
				for i := range 10 {
					p.sendAll("many updates", from, to, 4)
					p.sendAll("the other direction", to, from, 1)
					if i == 9 && from.Stats().SendUpdates < 5 {
						t.Errorf("only %d updates", from.Stats().SendUpdates)
					}
				}
			})
		}
	})
}

func TestSimultaneousUpdate(t *testing.T) {
	p := newPair(t, AES128GCM, &Config{RekeyAfter: 2})
	p.sendAll("phase 0", p.a, p.b, 2)
	p.sendAll("phase 0", p.b, p.a, 2)
	p.wantPhases("both have begun an update", 1, 0, 1, 0)
	fromA, fromB := p.seal(p.a, "x"), p.seal(p.b, "y")
	p.wantOpen("crossing", p.b, fromA)
	p.wantOpen("crossing", p.a, fromB)
	p.wantPhases("two updates at once are one", 1, 1, 1, 1)
	p.sendAll("still talking", p.a, p.b, 1)
	p.sendAll("still talking", p.b, p.a, 1)
}

func TestNoUpdateWithoutAck(t *testing.T) {
	p := newPair(t, AES128GCM, &Config{RekeyAfter: 2})
	for range 10 {
		p.wantOpen("unacknowledged", p.b, p.seal(p.a, "x"))
	}
	p.wantPhases("nothing acknowledged", 0, 0, 0, 0)
	p.a.HandleAcked(p.a.NextPN()) // a number never sent
	p.wantPhases("acknowledged a number never sent", 0, 0, 0, 0)
	p.a.HandleAcked(3)
	p.wantPhases("acknowledged", 1, 0, 0, 0)
	// The second update needs news from the new phase: old acknowledgements and a silent peer do not give it.
	for range 10 {
		p.wantOpen("new phase", p.b, p.seal(p.a, "x"))
	}
	p.a.HandleAcked(9)
	p.wantPhases("acknowledged a packet of the old phase", 1, 0, 1, 1)
	p.a.HandleAcked(12)
	p.wantPhases("the peer's own packets have not reached our phase", 1, 0, 1, 1)
	p.wantOpen("the peer's packet", p.a, p.seal(p.b, "x"))
	p.wantPhases("both conditions hold", 2, 1, 1, 1)
}

func TestLatePacketsOfPreviousPhase(t *testing.T) {
	p := newPair(t, AES128GCM, &Config{RekeyAfter: 4})
	late := p.seal(p.a, "late")
	p.sendAll("phase 0", p.a, p.b, 3)
	skipped := p.seal(p.a, "first of phase 1, delayed")
	p.wantOpen("second of phase 1", p.b, p.seal(p.a, "x"))
	p.wantPhases("updated", 1, 0, 1, 1)
	p.wantOpen("late packet of phase 0", p.b, late)
	p.wantErr("late packet again", p.b, late, ErrReplay)
	p.wantOpen("delayed first packet of phase 1", p.b, skipped)
	p.wantPhases("late packets change nothing", 1, 0, 1, 1)
}

func TestPreviousKeysAreForgotten(t *testing.T) {
	p := newPair(t, AES128GCM, &Config{RekeyAfter: 2})
	p.sendAll("phase 0", p.a, p.b, 2)
	p.wantOpen("phase 1", p.b, p.seal(p.a, "x"))
	if p.b.recv.prev.aead == nil {
		t.Fatal("previous keys were dropped while late packets may still come")
	}
	for range Window {
		p.wantOpen("phase 1", p.b, p.seal(p.a, "x")) // not acknowledged, so the phase stays
	}
	if p.b.recv.prev.aead != nil {
		t.Error("previous keys are kept although no packet of theirs can be accepted any more")
	}
}

func TestForgedPhaseBit(t *testing.T) {
	p := newPair(t, AES128GCM, &Config{RekeyAfter: 2})
	pkt := p.seal(p.a, "x")
	forged := append([]byte(nil), pkt...)
	forged[0] ^= phaseBit
	p.wantErr("a claim of a new phase", p.b, forged, ErrAuth)
	if got := p.b.Stats().Forged; got != 1 {
		t.Errorf("forged count = %d, want 1", got)
	}
	p.wantOpen("the real packet", p.b, pkt)
	p.sendAll("to phase 1", p.a, p.b, 1)
	between := p.seal(p.a, "hold me") // number 2, phase 1
	p.wantOpen("number 3", p.b, p.seal(p.a, "x"))
	p.wantOpen("number 2", p.b, between)
	p.wantOpen("number 5, leaving a gap at 4", p.b, func() []byte { p.seal(p.a, ""); return p.seal(p.a, "x") }())
	gap := append([]byte(nil), pkt...)
	gap[len(gap)-1] ^= 1
	gap[12] = 4 // a packet number inside phase 1 that claims phase 0
	gap[0] &^= phaseBit
	p.wantErr("old phase between numbers of the new", p.b, gap, ErrAuth)
	if got := p.b.Stats().Invalid; got != 1 {
		t.Errorf("invalid count = %d, want 1", got)
	}
}

func TestSealLimit(t *testing.T) {
	p := newPair(t, AES128GCM, &Config{RekeyAfter: 4})
	p.a.sealLimit = 8
	for range 8 {
		p.seal(p.a, "never acknowledged")
	}
	if got := p.trySeal(p.a, "one too many"); got != nil {
		t.Fatal("Seal goes on beyond the limit of the key")
	}
	if p.a.Err() != ErrExhausted {
		t.Errorf("Err = %v, want %v", p.a.Err(), ErrExhausted)
	}
	p.a.HandleAcked(2)
	if p.a.Err() != nil {
		t.Errorf("Err after the update = %v, want nil", p.a.Err())
	}
	p.seal(p.a, "an acknowledgement opens the way to new keys")
}

func TestPacketNumbersEnd(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	p.a.send.next = maxPN
	if pkt := p.trySeal(p.a, "last"); pkt == nil {
		t.Fatal("the last packet number cannot be used")
	}
	if pkt := p.trySeal(p.a, "after the last"); pkt != nil || p.a.Err() != ErrExhausted {
		t.Errorf("Seal after the last number = %x, Err %v", pkt, p.a.Err())
	}
	// A receiver near the end stays sane.
	p.b.recv.window.mark(maxPN)
	p.wantErr("a number beyond the last", p.b, p.seal(p.b, "anything"), ErrAuth)
}

func TestForgeryLimit(t *testing.T) {
	p := newPair(t, AES128GCM, nil)
	p.b.forgeLimit = 5
	pkt := p.seal(p.a, "x")
	forged := append([]byte(nil), pkt...)
	forged[len(forged)-1] ^= 1
	for i := range 4 {
		if _, _, err := p.open(p.b, forged); err != ErrAuth {
			t.Fatalf("forgery %d: Open = %v, want %v", i, err, ErrAuth)
		}
	}
	if _, _, err := p.open(p.b, forged); err != ErrExhausted {
		t.Fatalf("forgery at the limit: Open = %v, want %v", err, ErrExhausted)
	}
	if _, _, err := p.open(p.b, pkt); err != ErrExhausted || p.b.Err() != ErrExhausted {
		t.Errorf("authentic packet after the limit: Open = %v, Err = %v, want %v", err, p.b.Err(), ErrExhausted)
	}
}
