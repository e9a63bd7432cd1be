// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"testing"
	"time"
)

// TestRacedCopies: somebody copies the peer's packets and is quicker than they are, so that the originals look like
// replays; what is sent to him he hands on to the peer, so that his address answers challenges (RFC 9000 §9.3.3).
func TestRacedCopies(t *testing.T) {
	peer := direct("192.0.2.1:1")
	r := newRig(t, peer, Policy{})
	r.pass(10 * time.Second)
	start := r.now
	var held, total time.Duration
	for i := range 3000 { // a minute; a new address each ten seconds
		thief := Key{0, addr(fmt.Sprintf("203.0.113.9:%d", 1+i/500))}
		r.received(thief, true)
		for _, a := range r.take(Challenge) {
			answerLater(r, a, 40*ms1)
		}
		r.pass(20 * ms1)
		total += 20 * ms1
		if r.m.Current().Key != peer.Key {
			held += 20 * ms1
		}
	}
	if held*10 > total {
		t.Errorf("somebody who copies packets held the session for %v of %v", held, total)
	}
	if limit := 2 * int(r.now.Sub(start)/time.Second); len(r.moves) > limit {
		t.Errorf("%d switches in %v, want at most %d", len(r.moves), r.now.Sub(start), limit)
	}
	if len(r.moves) == 0 {
		t.Error("the session never followed: the test tests nothing")
	}
	r.moves = nil
	for range 500 { // he gives up
		r.received(peer.Key, true)
		for _, a := range r.take(Challenge) {
			answerLater(r, a, 40*ms1)
		}
		r.pass(20 * ms1)
	}
	r.wantCurrent("he has gone", peer.Key)
	// The peer really moves, and its old address is dead. It is followed as before.
	moved := direct("192.0.2.1:2")
	r.pass(1500 * ms1)
	r.received(moved.Key, true)
	for _, a := range r.take(Challenge) {
		if a.Path.Key == moved.Key {
			r.acts = append(r.acts, a)
			r.pass(40 * ms1)
			r.answer(moved.Key)
		}
	}
	r.wantCurrent("the peer has moved", moved.Key)
}

// answerLater answers a challenge after a while, at which time passes for all else too.
func answerLater(r *rig, a Action, d time.Duration) {
	r.m.HandleReceived(r.now, a.Path.Key, challengeSize, false)
	r.drain()
	r.now = r.now.Add(d)
	r.m.HandleResponse(r.now, a.Path.Key, a.Data)
	r.drain()
}

// TestFlappingGround: local changes ten times a second cost no more challenges than the limit, and the last one counts.
func TestFlappingGround(t *testing.T) {
	for _, rtt := range []time.Duration{40 * ms1, 200 * ms1} {
		for _, dead := range []bool{false, true} {
			t.Run(fmt.Sprintf("rtt=%v/dead=%v", rtt, dead), func(t *testing.T) {
				cur, rel := direct("192.0.2.1:1"), relayed("198.51.100.1:1")
				r := newRig(t, cur, Policy{})
				for i := range 6 {
					r.m.HandleCandidate(r.now, direct(fmt.Sprintf("192.0.2.%d:1", 10+i)))
				}
				r.validate(rel, rtt)
				r.pass(10 * time.Second)
				r.take(Challenge)
				start, n := r.now, 0
				answers := []func(){}
				due := []time.Time{}
				serve := func() {
					for _, a := range r.take(Challenge) {
						n++
						if a.Path.Key == rel.Key || a.Path.Key == cur.Key && !dead {
							due = append(due, r.now.Add(rtt))
							answers = append(answers, func() {
								r.m.HandleReceived(r.now, a.Path.Key, challengeSize, false)
								r.m.HandleResponse(r.now, a.Path.Key, a.Data)
							})
						}
					}
					for len(due) > 0 && !r.now.Before(due[0]) {
						answers[0]()
						due, answers = due[1:], answers[1:]
					}
				}
				for i := range 1000 {
					if i%10 == 0 {
						r.m.HandleLocalChange(r.now, "flapping")
					}
					serve()
					r.pass(10 * ms1)
				}
				if limit := probeBurst + int(r.now.Sub(start)/probeEvery) + 1; n > limit {
					t.Errorf("%d challenges in %v, want at most %d", n, r.now.Sub(start), limit)
				}
				if len(r.m.actions) > maxActions || len(r.m.History()) > maxHistory {
					t.Errorf("%d actions, %d records: something grows", len(r.m.actions), len(r.m.History()))
				}
				for range 100 {
					serve()
					r.pass(10 * ms1)
				}
				want := cur.Key
				if dead {
					want = rel.Key
				}
				r.wantCurrent("after the flapping", want)
				if r.m.Outage() || !r.m.Current().Validated {
					t.Error("a path answers, but the session is in an outage")
				}
			})
		}
	}
}
