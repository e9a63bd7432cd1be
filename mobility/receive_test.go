// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFollowRebinding(t *testing.T) {
	old, moved := direct("192.0.2.1:1"), direct("192.0.2.1:2")
	r := newRig(t, old, Policy{})
	r.received(moved.Key, true)
	r.wantCurrent("data keeps to the old path until the new one is proven", old.Key)
	if got := r.take(Challenge); len(got) != 1 || got[0].Path.Key != moved.Key {
		t.Fatalf("challenges = %v, want one to the new address", got)
	} else {
		r.acts = got
	}
	r.pass(30 * ms1)
	r.answer(moved.Key)
	r.wantCurrent("one round trip after the first packet", moved.Key)
	r.wantMoves("rebinding", 1)
	if !strings.Contains(r.moves[0].Why, "192.0.2.1:1") || !strings.Contains(r.moves[0].Why, "192.0.2.1:2") {
		t.Errorf("why = %q, want both addresses", r.moves[0].Why)
	}
	r.m.HandleResponse(r.now, moved.Key, [8]byte{})
	r.wantMoves("a made-up response", 1)
}

func TestOldPacketFromElsewhereMovesNothing(t *testing.T) {
	cur, third := direct("192.0.2.1:1"), Key{0, addr("203.0.113.9:9")}
	r := newRig(t, cur, Policy{})
	for range 50 {
		r.pass(100 * ms1)
		r.received(cur.Key, true)
		r.received(third, false)
	}
	if got := r.take(Challenge); len(got) > 0 {
		t.Errorf("an old packet from a third address caused %v", got[0])
	}
	r.wantMoves("old packets only", 0)
}

func TestFollowIsCancelledIfThePeerStillUsesTheOldPath(t *testing.T) {
	cur, other := direct("192.0.2.1:1"), direct("192.0.2.2:1")
	r := newRig(t, cur, Policy{})
	r.received(other.Key, true) // the peer probes from a second address
	r.pass(10 * ms1)
	r.received(cur.Key, true) // and goes on sending from the first
	r.pass(10 * ms1)
	r.answer(other.Key)
	r.wantMoves("the peer has not moved", 0)
}

func TestProbesOfThePeerAreNotFollowed(t *testing.T) {
	cur, other := direct("192.0.2.1:1"), direct("192.0.2.2:1")
	r := newRig(t, cur, Policy{})
	r.received(other.Key, false)
	r.m.HandleChallenge(r.now, other.Key, [8]byte{1})
	r.pass(10 * ms1)
	r.answer(other.Key)
	r.wantMoves("the peer only probed", 0)
	if p := r.m.Paths()[1]; !p.Validated {
		t.Error("a path the peer probes is not validated")
	}
	// Had it sent anything else from there before the answer, it would have been followed.
	third := direct("192.0.2.3:1")
	r.pass(2 * time.Second)
	r.received(third.Key, false)
	r.m.HandleChallenge(r.now, third.Key, [8]byte{2})
	r.pass(10 * ms1)
	r.received(third.Key, true)
	r.pass(10 * ms1)
	r.answer(third.Key)
	r.wantCurrent("data came from there", third.Key)
}

// A follow that had to wait for its turn is given up if the peer has sent by the old path meanwhile.
func TestPendingFollowIsGivenUpIfThePeerCameBack(t *testing.T) {
	cur, once, other := direct("192.0.2.1:1"), direct("192.0.2.2:1"), direct("192.0.2.3:1")
	r := newRig(t, cur, Policy{})
	r.received(once.Key, true) // takes this second's validation
	r.pass(10 * ms1)
	r.received(other.Key, true)
	r.pass(10 * ms1)
	r.received(cur.Key, true)
	r.take(Challenge)
	r.pass(2 * time.Second)
	for _, a := range r.take(Challenge) {
		if a.Path.Key == other.Key {
			t.Errorf("%v was challenged although the peer had come back", other.Key)
		}
	}
}

func TestFollowAtMostOncePerSecond(t *testing.T) {
	r := newRig(t, direct("192.0.2.1:1"), Policy{})
	start := r.now
	seen := map[Key]bool{}
	for i := range 100 { // ten new addresses a second, for ten seconds
		k := Key{0, addr(fmt.Sprintf("192.0.2.1:%d", 1000+i))}
		r.received(k, true)
		r.pass(100 * ms1)
		for _, a := range r.take(Challenge) {
			if a.Path.Key != r.m.Current().Key {
				seen[a.Path.Key] = true
			}
		}
	}
	if limit := int(r.now.Sub(start)/time.Second) + 1; len(seen) > limit {
		t.Errorf("%d addresses were challenged in %v, want at most %d", len(seen), r.now.Sub(start), limit)
	}
	if got := len(r.m.Paths()); got > MaxPaths {
		t.Errorf("%d paths are remembered, want at most %d", got, MaxPaths)
	}
	// The last address is not forgotten, although nothing more comes.
	last := Key{0, addr("192.0.2.1:1099")}
	r.pass(time.Second)
	if !seen[last] {
		found := false
		for _, a := range r.take(Challenge) {
			found = found || a.Path.Key == last
		}
		if !found {
			t.Errorf("the latest address was never challenged")
		}
	}
}

// TestFlappingPeer lets the peer alternate between two addresses ten times a second, both of which answer at once.
func TestFlappingPeer(t *testing.T) {
	a, b := direct("192.0.2.1:1"), direct("192.0.2.1:2")
	r := newRig(t, a, Policy{})
	start := r.now
	for i := range 200 {
		k := a.Key
		if i%2 == 0 {
			k = b.Key
		}
		r.received(k, true)
		r.pass(20 * ms1)
		for _, c := range r.take(Challenge) {
			r.acts = append(r.acts, c)
			r.answer(c.Path.Key)
		}
		r.take(Challenge)
		r.pass(80 * ms1)
	}
	if got, limit := len(r.moves), int(r.now.Sub(start)/time.Second)+1; got > limit {
		t.Errorf("%d switches in %v, want at most %d", got, r.now.Sub(start), limit)
	}
}

func TestAmplification(t *testing.T) {
	// Somebody copies the peer's newest packets and sends them on from a victim's address, again and again.
	for size := 28; size < 200; size += 7 {
		r := newRig(t, direct("192.0.2.1:1"), Policy{})
		victim := Key{0, addr("203.0.113.1:53")}
		in, out := 0, 0
		for i := range 60 {
			if i%10 == 0 {
				r.m.HandleReceived(r.now, victim, size, true)
				in += size
				r.m.HandleChallenge(r.now, victim, [8]byte{byte(i)})
			}
			r.m.HandleReceived(r.now, r.m.Current().Key, 100, false)
			r.pass(100 * ms1)
			for _, op := range []Op{Challenge, Response} {
				for _, a := range r.take(op) {
					if a.Path.Key == victim {
						out += challengeSize
					}
				}
			}
			if out > 3*in {
				t.Fatalf("packets of %d bytes: %d bytes sent for %d received", size, out, in)
			}
		}
		if out == 0 && size > 2*challengeSize {
			t.Errorf("packets of %d bytes: nothing was sent, the test tests nothing", size)
		}
		if b := r.m.Budget(victim); b > 3*in-out {
			t.Errorf("budget %d after %d bytes in, %d out", b, in, out)
		}
	}
	r := newRig(t, direct("192.0.2.1:1"), Policy{})
	if b := r.m.Budget(Key{0, addr("203.0.113.1:53")}); b != 0 {
		t.Errorf("budget of an unknown path = %d, want 0", b)
	}
}

func TestChallengesAreAnsweredOnTheSamePath(t *testing.T) {
	cur, other := direct("192.0.2.1:1"), Key{0, addr("192.0.2.9:1")}
	r := newRig(t, cur, Policy{})
	r.m.HandleChallenge(r.now, other, [8]byte{1})
	if got := r.take(Response); len(got) != 0 {
		t.Error("a challenge from a path nothing was received on is answered")
	}
	r.m.HandleReceived(r.now, other, 40, false)
	r.m.HandleChallenge(r.now, other, [8]byte{2})
	if got := r.take(Response); len(got) != 1 || got[0].Path.Key != other || got[0].Data != [8]byte{2} {
		t.Errorf("responses = %v, want one by %v with the same data", got, other)
	}
	for i := range 100 {
		r.m.HandleChallenge(r.now, cur.Key, [8]byte{byte(i)})
	}
	if got := r.take(Response); len(got) != maxReplies {
		t.Errorf("%d responses at once, want %d", len(got), maxReplies)
	}
}
