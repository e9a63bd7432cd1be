// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"math"
	"testing"
	"time"
)

const ms1 = time.Millisecond

func TestNewIsValidated(t *testing.T) {
	r := newRig(t, direct("192.0.2.1:1"), Policy{})
	p := r.m.Current()
	if !p.Validated || !p.Current || p.Kind != Direct || r.m.Budget(p.Key) != math.MaxInt {
		t.Errorf("first path = %+v, budget %d; the handshake has validated it", p, r.m.Budget(p.Key))
	}
	defer func() {
		if recover() == nil {
			t.Error("New without Rand does not panic")
		}
	}()
	New(epoch, direct("192.0.2.1:1"), nil)
}

func TestRelayToDirect(t *testing.T) {
	rel, dir := relayed("198.51.100.1:1"), direct("192.0.2.1:1")
	r := newRig(t, rel, Policy{})
	r.m.HandleCandidate(r.now, dir)
	r.wantCurrent("a candidate alone", rel.Key)
	r.drain()
	r.pass(40 * ms1)
	r.answer(dir.Key)
	r.wantCurrent("the direct path has answered", dir.Key)
	r.wantMoves("one validation, one switch", 1)
	a := r.moves[0]
	if a.From.Key != rel.Key || a.Path.Key != dir.Key || a.Path.RTT != 40*ms1 || !a.Path.Validated {
		t.Errorf("switch = %+v, want from %v to %v with a round trip of 40 ms", a, rel, dir)
	}
	// The relayed path answers, faster. It stays the one to fall back on.
	for r.m.Stats().Answered < 2 {
		r.pass(time.Second)
		r.received(dir.Key, true)
		for _, a := range r.take(Challenge) {
			if a.Path.Key == rel.Key {
				r.acts = append(r.acts, a)
				r.answer(rel.Key)
			}
		}
	}
	r.wantCurrent("a relayed path never replaces a direct one that works", dir.Key)
}

func TestLowerRTTWins(t *testing.T) {
	a, b := direct("192.0.2.1:1"), direct("192.0.2.2:1")
	for _, tt := range []struct {
		rttA, rttB time.Duration
		moves      bool
	}{
		{100 * ms1, 90 * ms1, false},
		{100 * ms1, 40 * ms1, true},
		{100 * ms1, 200 * ms1, false},
	} {
		t.Run(fmt.Sprintf("%v-%v", tt.rttA, tt.rttB), func(t *testing.T) {
			r := newRig(t, a, Policy{})
			r.pass(6 * time.Second)
			r.received(a.Key, true)
			r.validate(b, tt.rttB)
			r.wantMoves("the current path has not been measured", 0)
			r.now = r.now.Add(tt.rttA)
			r.answer(a.Key) // it is measured because of b
			if (len(r.moves) > 0) != tt.moves {
				t.Errorf("moved: %v, want %v", len(r.moves) > 0, tt.moves)
			}
		})
	}
}

func TestRelayOnly(t *testing.T) {
	rel := relayed("198.51.100.1:1")
	r := newRig(t, rel, Policy{RelayOnly: true})
	dir := direct("192.0.2.1:1")
	r.m.HandleCandidate(r.now, dir)
	r.m.HandleCandidate(r.now, Candidate{Key{0, addr("198.51.100.2:1")}, Relayed}) // our socket to the peer's relay
	r.received(dir.Key, true)
	r.m.HandleChallenge(r.now, dir.Key, [8]byte{1})
	for range 20 {
		r.pass(time.Second)
		r.received(dir.Key, true)
		for _, a := range append(r.take(Challenge), r.take(Response)...) {
			if a.Path.Via == 0 {
				t.Fatalf("%v by %v shows our address", a.Op, a.Path)
			}
		}
	}
	if got := r.m.Stats().Ignored; got == 0 {
		t.Error("nothing was counted as ignored")
	}
	other := relayed("192.0.2.1:1")
	r.validate(other, 10*ms1)
	if b := r.m.Budget(other.Key); b != math.MaxInt {
		t.Errorf("another path by our relay has budget %d; it is permitted and validated", b)
	}
}

func TestCandidateGivesUp(t *testing.T) {
	r := newRigWith(t, relayed("198.51.100.1:1"), &Config{Standby: -1})
	c := direct("192.0.2.1:1")
	r.m.HandleCandidate(r.now, c)
	var gaps []time.Duration
	var last time.Time
	for range 200 {
		r.pass(50 * ms1)
		r.received(r.m.Current().Key, true)
		for _, a := range r.take(Challenge) {
			if a.Path.Key == c.Key {
				if !last.IsZero() {
					gaps = append(gaps, r.now.Sub(last))
				}
				last = r.now
			}
		}
	}
	if len(gaps) != candidateTries-1 {
		t.Fatalf("%d challenges, want %d", len(gaps)+1, candidateTries)
	}
	for i := 1; i < len(gaps); i++ {
		if gaps[i] < gaps[i-1] {
			t.Errorf("gaps between challenges are %v, want them to grow", gaps)
		}
	}
	r.m.HandleCandidate(r.now, c)
	if got := r.take(Challenge); len(got) != 1 {
		t.Errorf("naming the candidate again caused %d challenges, want 1", len(got))
	}
	for range 90 {
		r.pass(time.Second)
		r.received(r.m.Current().Key, true)
	}
	if len(r.m.Paths()) != 1 {
		t.Errorf("paths = %v: a candidate that never answered is not forgotten", r.m.Paths())
	}
}

func TestProbeRateIsLimited(t *testing.T) {
	r := newRig(t, relayed("198.51.100.1:1"), Policy{})
	start := r.now
	n := 0
	for i := range 500 {
		r.m.HandleCandidate(r.now, direct(fmt.Sprintf("192.0.2.%d:%d", 1+i%250, 1000+i)))
		r.pass(20 * ms1)
		n += len(r.take(Challenge))
	}
	limit := probeBurst + int(r.now.Sub(start)/probeEvery) + 1
	if n > limit {
		t.Errorf("%d challenges in %v, want at most %d", n, r.now.Sub(start), limit)
	}
	if got := len(r.m.Paths()); got > MaxPaths {
		t.Errorf("%d paths, want at most %d", got, MaxPaths)
	}
	r.wantCurrent("never evicted", relayed("198.51.100.1:1").Key)
}

func TestResponseMustMatch(t *testing.T) {
	rel, dir, other := relayed("198.51.100.1:1"), direct("192.0.2.1:1"), direct("192.0.2.2:1")
	r := newRig(t, rel, Policy{})
	r.m.HandleCandidate(r.now, dir)
	r.m.HandleCandidate(r.now, other)
	cs := r.take(Challenge)
	if len(cs) != 2 || cs[0].Data == cs[1].Data {
		t.Fatalf("challenges = %v, want two with different data", cs)
	}
	bad := cs[0].Data
	bad[7] ^= 1
	r.m.HandleResponse(r.now, dir.Key, bad)
	r.m.HandleResponse(r.now, dir.Key, [8]byte{})
	r.wantMoves("wrong data", 0)
	// The response to dir's challenge comes by the relay: it validates dir, where the challenge went.
	r.pass(10 * ms1)
	r.m.HandleReceived(r.now, rel.Key, 40, true)
	r.m.HandleResponse(r.now, rel.Key, cs[0].Data)
	r.drain()
	r.wantCurrent("the challenge went by", dir.Key)
	r.m.HandleResponse(r.now, rel.Key, cs[0].Data)
	if got := r.m.Stats(); got.Answered != 1 || got.Unmatched != 3 {
		t.Errorf("stats = %+v, want 1 answered and 3 unmatched", got)
	}
	r.now = r.now.Add(challengeLife + time.Second)
	r.m.HandleResponse(r.now, rel.Key, cs[1].Data)
	if got := r.m.Stats(); got.Answered != 1 {
		t.Error("an answer after the life of its challenge counts")
	}
}

func TestActionsAreBounded(t *testing.T) {
	r := newRig(t, direct("192.0.2.1:1"), Policy{})
	for i := range 1000 { // a driver that never polls
		r.now = r.now.Add(time.Second)
		r.m.HandleCandidate(r.now, direct(fmt.Sprintf("192.0.2.2:%d", 1+i)))
		r.m.HandleTimeout(r.now)
	}
	n := 0
	for {
		if _, ok := r.m.Poll(r.now); !ok {
			break
		}
		n++
	}
	if n > maxActions {
		t.Errorf("%d actions were waiting, want at most %d", n, maxActions)
	}
	if r.m.Stats().Dropped == 0 {
		t.Error("lost actions are not counted")
	}
}

func TestStrings(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Direct.String(), "direct"},
		{Relayed.String(), "relayed"},
		{Kind(7).String(), "Kind(7)"},
		{Switch.String(), "switch"},
		{Op(77).String(), "Op(77)"},
		{Path{Key: Key{0, addr("192.0.2.1:4000")}}.String(), "direct 192.0.2.1:4000"},
		{Path{Key: Key{2, addr("192.0.2.1:4000")}, Kind: Relayed}.String(), "relayed 192.0.2.1:4000 via relay 2"},
	} {
		if tt.got != tt.want {
			t.Errorf("String = %q, want %q", tt.got, tt.want)
		}
	}
}

func TestNoAllocationsPerPacket(t *testing.T) {
	r := newRig(t, relayed("198.51.100.1:1"), Policy{})
	r.validate(direct("192.0.2.1:1"), 30*ms1)
	k := r.m.Current().Key
	n := testing.AllocsPerRun(1000, func() {
		r.now = r.now.Add(ms1)
		r.m.HandleReceived(r.now, k, 1200, true)
		r.m.HandleSent(r.now, k, 1200)
		_ = r.m.Budget(k)
		if _, ok := r.m.Poll(r.now); ok {
			t.Fatal("an action for ordinary traffic")
		}
		_ = r.m.NextTimeout()
	})
	if n != 0 {
		t.Errorf("a packet received and one sent allocate %v times, want 0", n)
	}
}

func BenchmarkPacket(b *testing.B) {
	m := New(epoch, direct("192.0.2.1:1"), &Config{Rand: seeded(1)})
	k, now := m.Current().Key, epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		m.HandleReceived(now, k, 1200, true)
		m.HandleSent(now, k, 1200)
		m.Poll(now)
		m.NextTimeout()
	}
}

// The first path of a session that has proven nothing has the budget of any such path until it answers.
func TestUnprovenFirstPath(t *testing.T) {
	first, other := direct("192.0.2.1:1"), direct("192.0.2.2:1")
	r := newRigWith(t, first, &Config{Unproven: 500})
	if got := r.m.Budget(first.Key); got < 1400 || got > 1800 {
		t.Errorf("budget after 500 bytes is %d, want three times as much and a few challenges", got)
	}
	r.drain()
	r.m.HandleSent(r.now, first.Key, 1500)
	if got := r.m.Budget(first.Key); got > 400 {
		t.Errorf("budget after it has been used is %d, want what challenges take", got)
	}
	// Another path that answers first does not take over while the first has yet to.
	r.m.HandleCandidate(r.now, other)
	r.pass(10 * ms1)
	r.answer(other.Key)
	r.wantMoves("the first path's own answer is under way", 0)
	r.answer(first.Key)
	r.wantMoves("the first path works", 0)
	if got := r.m.Budget(first.Key); got != math.MaxInt {
		t.Errorf("budget of a proven path is %d, want no limit", got)
	}
}

func TestFirstPathThatNeverAnswersIsLeft(t *testing.T) {
	first, other := direct("192.0.2.1:1"), direct("192.0.2.2:1")
	r := newRigWith(t, first, &Config{Unproven: 500})
	r.m.HandleCandidate(r.now, other)
	for range 200 {
		r.pass(100 * ms1)
		for _, a := range r.take(Challenge) {
			if a.Path.Key == other.Key {
				r.m.HandleReceived(r.now, other.Key, challengeSize, false)
				r.m.HandleResponse(r.now, other.Key, a.Data)
			}
		}
	}
	r.wantCurrent("the first path never answered", other.Key)
}

// The network may go before the first path has answered. The session tries it all the same until the network is back, seldom
// enough to be no burden to whoever else may be there.
func TestOutageBeforeTheFirstAnswer(t *testing.T) {
	first := direct("192.0.2.1:1")
	r := newRigWith(t, first, &Config{Unproven: 40})
	r.drain()
	r.m.HandleSent(r.now, first.Key, 1500)
	r.m.HandleStall(r.now)
	r.pass(20 * time.Second)
	r.take(Challenge)
	r.pass(20 * time.Second)
	challenges := r.take(Challenge)
	if n := len(challenges); n < 9 || n > 10 {
		t.Fatalf("%d challenges in 20 s, want one each 2 s", n)
	}
	r.m.HandleReceived(r.now, first.Key, challengeSize, true)
	r.m.HandleResponse(r.now, first.Key, challenges[len(challenges)-1].Data)
	if r.m.Outage() {
		t.Error("the first path has answered, and the outage is not over")
	}
}
