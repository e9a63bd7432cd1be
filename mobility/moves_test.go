// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

const labRTT = 40 * ms1

// move detaches an end for as long as the hole is, and attaches it elsewhere. Its driver tells the machine of both, and
// signaling tells the peer where it is now, so much later.
func (e *end) move(to string, hole, signaling time.Duration) {
	e.down = true
	e.m.HandleLocalChange(e.lab.now, "the interface is gone")
	e.drain()
	e.lab.after(hole, func() {
		e.down = false
		e.socket = addr(to)
		e.m.HandleLocalChange(e.lab.now, "there is a new interface")
		e.drain()
		if signaling > 0 {
			e.tellPeer(signaling)
		}
	})
}

// tellPeer has the peer learn where e is, by a way that takes so long.
func (e *end) tellPeer(delay time.Duration) {
	e.lab.after(delay, func() {
		d := e.peer
		if d.down {
			e.tellPeer(delay) // it asks for what it has missed as soon as it is back
			return
		}
		list := []Candidate{{Key{0, e.socket}, Direct}}
		if e.relay.IsValid() {
			list = append(list, Candidate{Key{0, e.relay}, Relayed})
		}
		if d.relay.IsValid() {
			list = append(list, Candidate{Key{1, e.socket}, Relayed})
		}
		d.m.HandleCandidates(e.lab.now, list)
		d.drain()
	})
}

// twoWay is a lab whose session is direct and carries data both ways, 50 times a second.
func twoWay(t *testing.T, seed uint64) *lab {
	l := directLab(t, seed)
	l.a.talk(20 * ms1)
	l.b.talk(20 * ms1)
	l.run(time.Duration(3000+37*seed) * ms1)
	l.resetGaps()
	return l
}

// percentile returns how long the longest gap is in so many of the cases.
func percentile(gaps []time.Duration, p float64) time.Duration {
	slices.Sort(gaps)
	return gaps[min(int(p*float64(len(gaps))), len(gaps)-1)]
}

func seeds(most int) uint64 {
	if testing.Short() {
		return uint64(max(2, most/25))
	}
	return uint64(most)
}

func TestMoveGaps(t *testing.T) {
	for _, tt := range []struct {
		name      string
		cone      bool
		signaling time.Duration
		both      bool
		p50, p99  time.Duration // beyond the hole
	}{
		{"peer reachable, no rendezvous", true, 0, false, 3 * labRTT, 500 * ms1},
		{"peer behind a NAT that filters", false, 80 * ms1, false, 3*labRTT + 80*ms1, 500 * ms1},
		{"both ends at once", false, 80 * ms1, true, 500 * ms1, time.Second},
	} {
		for _, hole := range []time.Duration{0, 300 * ms1, 2 * time.Second} {
			t.Run(fmt.Sprintf("%s/hole=%v", tt.name, hole), func(t *testing.T) {
				var gaps []time.Duration
				for seed := range seeds(100) {
					l := twoWay(t, seed)
					l.a.cone, l.b.cone = tt.cone, tt.cone
					l.b.move("203.0.113.77:7", hole, tt.signaling)
					if tt.both {
						l.a.move("192.0.2.77:7", hole, tt.signaling)
					}
					l.run(hole + 5*time.Second)
					gaps = append(gaps, max(l.a.gap, l.b.gap)-hole)
					l.wantKind("moved", Direct)
				}
				p50, p99 := percentile(gaps, 0.5), percentile(gaps, 0.99)
				t.Logf("beyond the hole: p50 %v, p99 %v", p50, p99)
				if p50 > tt.p50+25*ms1 || p99 > tt.p99 { // 20 ms until the next packet
					t.Errorf("gap beyond the hole: p50 %v, p99 %v; want at most %v and %v", p50, p99, tt.p50, tt.p99)
				}
			})
		}
	}
}

func TestOutageGaps(t *testing.T) {
	for _, outage := range []time.Duration{5 * time.Second, 30 * time.Second, 110 * time.Second} {
		for _, battery := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/battery=%v", outage, battery), func(t *testing.T) {
				limit := labRTT + 250*ms1
				if battery {
					limit = 2*time.Second + labRTT
				}
				for seed := range seeds(40) {
					l := twoWay(t, seed)
					l.a.m.SetBattery(l.now, battery)
					l.b.m.SetBattery(l.now, battery)
					l.blocked = blockAll
					before := l.a.m.Stats().Challenges
					l.run(outage + time.Duration(seed)*7*ms1)
					if n := l.a.m.Stats().Challenges - before; n > uint64(outage/probeEvery)+probeBurst+1 {
						t.Fatalf("%d challenges in an outage of %v, more than 16 a second", n, outage)
					}
					l.blocked = nil
					l.resetGaps()
					l.run(4 * time.Second)
					if got := max(l.a.gap, l.b.gap); got > limit || l.a.m.Outage() || l.b.m.Outage() {
						l.dump()
						t.Fatalf("seed %d: traffic %v after the network is back, want %v at most", seed, got, limit)
					}
					if l.a.deads != 1 || l.b.deads != 1 {
						t.Fatalf("seed %d: Dead %d and %d times, want once", seed, l.a.deads, l.b.deads)
					}
					if l.a.revived+l.a.switches < 2 { // the upgrade is one
						t.Fatalf("seed %d: neither Alive nor Switch ended the outage", seed)
					}
				}
			})
		}
	}
}

// TestBlackHole lets a path die without a word. The drivers have no loss detection here: it would be quicker.
func TestBlackHole(t *testing.T) {
	for _, stall := range []bool{false, true} {
		for _, relayDies := range []bool{false, true} {
			t.Run(fmt.Sprintf("stall=%v/relay=%v", stall, relayDies), func(t *testing.T) {
				limit := 950 * ms1
				if stall {
					limit = 600 * ms1
				}
				for seed := range seeds(40) {
					var l *lab
					if relayDies { // and another relay lives
						l = newLab(t, seed)
						l.a.m.HandleCandidate(l.now, Candidate{Key{0, l.b.socket}, Relayed}) // stands for one
						l.a.drain()
						l.b.m.HandleCandidate(l.now, Candidate{Key{0, l.a.socket}, Relayed})
						l.b.drain()
						l.a.talk(20 * ms1)
						l.b.talk(20 * ms1)
						l.run(time.Duration(9000+13*seed) * ms1)
					} else {
						l = twoWay(t, seed)
					}
					l.resetGaps()
					dead := l.a.m.Current().Key == (Key{1, l.b.socket})
					l.blocked = func(from, to netip.AddrPort) bool {
						return (isRelay(from) || isRelay(to)) == dead
					}
					if stall {
						for _, e := range []*end{l.a, l.b} {
							l.after(130*ms1, func() { e.m.HandleStall(l.now); e.drain() })
						}
					}
					l.run(5 * time.Second)
					if got := max(l.a.gap, l.b.gap); got > limit {
						l.dump()
						t.Fatalf("seed %d: %v without data, want %v at most", seed, got, limit)
					}
				}
			})
		}
	}
}

// TestStaysOnAPathThatOnlySuffers: neither loss nor a queue that builds up is a dead path.
func TestStaysOnAPathThatOnlySuffers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		loss  float64
		spike time.Duration
	}{
		{"5 % loss", 0.05, 0},
		{"a queue of 300 ms", 0, 300 * ms1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range seeds(20) {
				l := twoWay(t, seed)
				l.a.switches, l.b.switches = 0, 0
				l.loss = tt.loss
				for range 30 {
					if tt.spike > 0 { // on the direct path only: the relay would be the winner
						l.slow = func(from, to netip.AddrPort) time.Duration {
							if blockDirect(from, to) {
								return tt.spike / 2 // each way
							}
							return 0
						}
						l.after(130*ms1, func() { l.a.m.HandleStall(l.now); l.a.drain() })
					}
					l.run(time.Second)
					l.slow = nil
					l.run(time.Second)
				}
				if n := l.a.switches + l.b.switches; n > 0 || l.a.deads+l.b.deads > 0 {
					l.dump()
					t.Fatalf("seed %d: %d switches, %d outages", seed, n, l.a.deads+l.b.deads)
				}
			}
		})
	}
}

// However many ways there are that are worth little, one that is sure to work has room, and does not wait for its turn; nor
// does the current path.
func TestCertainFirst(t *testing.T) {
	here, certain := direct("192.0.2.1:1"), relayed("192.0.2.9:1")
	r := newRig(t, here, Policy{})
	for i := range MaxPaths - 1 { // as a search through hard NATs leaves them
		r.validate(direct(fmt.Sprintf("198.51.100.1:%d", i+1)), labRTT)
		for range 20 {
			r.pass(50 * time.Millisecond)
			r.received(here.Key, true)
		}
	}
	r.wantCurrent("before the move", here.Key)
	r.m.HandleLocalChange(r.now, "a test says so")
	r.pass(20 * time.Millisecond)
	r.m.HandleLocalChange(r.now, "the peer has moved")
	r.pass(80 * time.Millisecond)
	r.acts = nil
	asked := r.now
	r.m.HandleCandidates(r.now, []Candidate{certain, direct("203.0.113.1:1")})
	r.drain()
	if len(r.acts) == 0 || r.acts[0].Path.Key != certain.Key {
		t.Fatalf("as soon as the way from relay to relay is known there is %v, want a challenge by that way", r.acts)
	}
	r.pass(1500 * time.Millisecond)
	times := make(map[Key][]time.Duration)
	for _, a := range r.take(Challenge) {
		for _, c := range r.m.lookup(a.Path.Key).challenges {
			if c.data == a.Data {
				times[a.Path.Key] = append(times[a.Path.Key], c.at.Sub(asked))
			}
		}
	}
	if sure, cur := times[certain.Key], times[here.Key]; len(sure) < 4 || len(cur) < 4 {
		t.Errorf("in 1.5 s the certain way is challenged at %v and the current one at %v, want four times each", sure, cur)
	}
}

// What was asked before the ground moved, and is answered after, is asked again at once.
func TestAnswerAcrossMove(t *testing.T) {
	here, relay, other := direct("192.0.2.1:1"), relayed("192.0.2.9:1"), direct("203.0.113.1:1")
	r := newRig(t, here, Policy{})
	r.validate(relay, labRTT)
	r.pass(20 * time.Second)
	r.wantCurrent("before all", here.Key)
	r.m.HandleLocalChange(r.now, "a test says so")
	r.drain()
	r.pass(labRTT)
	r.answer(relay.Key)
	r.m.HandleCandidates(r.now, []Candidate{relay, other})
	r.drain()
	r.pass(labRTT / 2)
	r.m.HandleLocalChange(r.now, "again")
	r.drain()
	r.pass(labRTT / 2)
	r.answer(relay.Key)
	r.answer(other.Key)
	r.pass(labRTT)
	r.answer(other.Key)
	r.wantCurrent("a round trip after an old answer", other.Key)
}
