// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"testing"
	"time"
)

func TestLocalChange(t *testing.T) {
	cur, rel := direct("192.0.2.1:1"), relayed("198.51.100.1:1")
	for _, tt := range []struct {
		name     string
		cur, rel time.Duration // when they answer; zero: never
		want     Key
		by       time.Duration
	}{
		{"the current path answers first", 40 * ms1, 60 * ms1, cur.Key, 0},
		{"it answers shortly after a worse kind", 45 * ms1, 30 * ms1, cur.Key, 0},
		{"it does not answer", 0, 60 * ms1, rel.Key, 100 * ms1},
		{"it answers late", 200 * ms1, 30 * ms1, cur.Key, 0}, // and wins again, being direct
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, cur, Policy{})
			r.validate(rel, 60*ms1)
			r.m.cur.rtt = 40 * ms1
			r.pass(6 * time.Second)
			r.take(Challenge)
			start := r.now
			r.m.HandleLocalChange(r.now, "the test says so")
			cs := r.take(Challenge)
			if len(cs) != 2 || cs[0].Path.Key != cur.Key || cs[1].Path.Key != rel.Key {
				t.Fatalf("challenges = %v, want the current path and then the relayed one, at once", cs)
			}
			var moved time.Duration
			for r.now.Sub(start) < 800*ms1 {
				r.pass(5 * ms1)
				for _, a := range cs {
					d := tt.cur
					if a.Path.Key == rel.Key {
						d = tt.rel
					}
					if d > 0 && r.now.Sub(start) == d {
						r.m.HandleResponse(r.now, a.Path.Key, a.Data)
						r.drain()
					}
				}
				if len(r.moves) == 1 && moved == 0 {
					moved = r.now.Sub(start)
				}
			}
			r.wantCurrent(tt.name, tt.want)
			if tt.by > 0 && moved > tt.by {
				t.Errorf("moved after %v, want %v at most", moved, tt.by)
			}
			if tt.want == cur.Key && tt.cur < 100*ms1 {
				r.wantMoves("it stays", 0)
			}
			if len(r.m.History()) < 2 {
				t.Error("the history does not say what happened")
			}
		})
	}
}

// TestOldRTTDoesNotStretch: what the current path took before the change does not slow the challenges down.
func TestOldRTTDoesNotStretch(t *testing.T) {
	r := newRig(t, direct("192.0.2.1:1"), Policy{})
	r.m.cur.rtt = 1500 * ms1
	r.m.HandleLocalChange(r.now, "moved")
	r.pass(450 * ms1)
	if n := len(r.take(Challenge)); n < 4 {
		t.Errorf("%d challenges in 450 ms, want one each 100 ms", n)
	}
}

func TestHandleCandidates(t *testing.T) {
	cur, a, b, c := direct("192.0.2.1:1"), direct("192.0.2.2:1"), direct("192.0.2.3:1"), direct("192.0.2.4:1")
	r := newRig(t, cur, Policy{})
	r.m.HandleCandidates(r.now, []Candidate{a, b})
	if got := r.take(Challenge); len(got) != 2 {
		t.Fatalf("challenges = %v, want one to each candidate", got)
	} else {
		r.acts = got
	}
	r.pass(30 * ms1)
	r.answer(a.Key)
	r.m.HandleCandidates(r.now, []Candidate{c})
	if r.m.lookup(b.Key) != nil {
		t.Error("a candidate that is no longer named and never answered is still known")
	}
	if r.m.lookup(a.Key) == nil || r.m.lookup(cur.Key) == nil {
		t.Error("a path that has just answered, or is current, is forgotten")
	}
	r.take(Challenge)
	n := 0
	for range 20 {
		r.m.HandleCandidates(r.now, []Candidate{c})
		r.received(cur.Key, true)
		r.pass(50 * ms1)
		for _, a := range r.take(Challenge) {
			if a.Path.Key == c.Key {
				n++
			}
		}
	}
	if n > 4 {
		t.Errorf("%d challenges in a second because the same candidate was named again and again, want those of one attempt", n)
	}
	var many []Candidate
	for i := range 100 {
		many = append(many, direct(fmt.Sprintf("192.0.2.%d:2", 1+i)))
	}
	r.m.HandleCandidates(r.now, many)
	if got := len(r.m.Paths()); got > MaxPaths {
		t.Errorf("%d paths, want at most %d", got, MaxPaths)
	}
	// In an outage, a new candidate is tried at once.
	r = newRig(t, cur, Policy{})
	r.m.HandleLocalChange(r.now, "all is lost")
	r.pass(3 * time.Second)
	if len(r.take(Dead)) != 1 {
		t.Fatal("no outage")
	}
	r.take(Challenge)
	r.m.HandleCandidates(r.now, []Candidate{c})
	if got := r.take(Challenge); len(got) != 1 || got[0].Path.Key != c.Key {
		t.Errorf("challenges = %v, want one to the new candidate at once", got)
	}
}

func TestDegraded(t *testing.T) {
	cur, alt := direct("192.0.2.1:1"), relayed("198.51.100.1:1")
	r := newRig(t, cur, Policy{})
	r.validate(alt, 50*ms1)
	r.pass(10 * time.Second)
	serve := func(d time.Duration) {
		for range int(d / (20 * ms1)) {
			r.received(r.m.Current().Key, true)
			for _, a := range r.take(Challenge) {
				r.acts = append(r.acts, a)
				r.answer(a.Path.Key)
				r.take(Challenge)
			}
			r.pass(20 * ms1)
		}
	}
	for range 60 { // 5 %
		r.m.HandleLosses(r.now, 19, 1)
		serve(100 * ms1)
	}
	if got := r.take(Degraded); len(got) > 0 {
		t.Fatalf("degraded at 5 %% loss: %s", got[0].Why)
	}
	r.wantMoves("5 % loss", 0)
	for range 50 { // 15 %, five seconds
		r.m.HandleLosses(r.now, 17, 3)
		serve(100 * ms1)
	}
	if got := r.take(Degraded); len(got) < 1 || len(got) > 2 || got[0].Why == "" || got[0].Path.Loss < 0.1 {
		t.Fatalf("Degraded = %v, want one each five seconds, with the reason", got)
	}
	r.wantMoves("15 % loss: direct is still better", 0)
	for range 100 { // 40 %
		if r.m.Current().Key == cur.Key {
			r.m.HandleLosses(r.now, 12, 8)
		}
		serve(100 * ms1)
	}
	r.wantCurrent("40 % loss", alt.Key)
	r.wantMoves("40 % loss", 1)
}

func TestHistoryIsBounded(t *testing.T) {
	r := newRig(t, direct("192.0.2.1:1"), Policy{})
	for i := range 500 {
		r.m.note(r.now, Switched, direct("192.0.2.1:1"), fmt.Sprint(i))
		r.m.note(r.now, Refused, direct(fmt.Sprintf("192.0.2.1:%d", i+1)), "the same")
	}
	h := r.m.History()
	if len(h) != maxHistory || h[len(h)-2].Why != "499" || h[0].Why != "468" {
		t.Fatalf("%d records, from %v to %v; want the latest %d in order", len(h), h[0], h[len(h)-1], maxHistory)
	}
	for i := range 500 {
		r.m.note(r.now, Refused, direct(fmt.Sprintf("192.0.2.1:%d", i+1)), "the same")
	}
	if got := r.m.History(); got[0].Why != "468" || got[len(got)-1].Count != 501 {
		t.Errorf("what repeats itself drives out the rest: %+v", got[len(got)-1])
	}
}
