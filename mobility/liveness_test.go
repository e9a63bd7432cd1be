// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"testing"
	"time"
)

func TestFailover(t *testing.T) {
	rel, dir := relayed("198.51.100.1:1"), direct("192.0.2.1:1")
	for _, stall := range []bool{false, true} {
		t.Run(fmt.Sprintf("stall=%v", stall), func(t *testing.T) {
			r := newRig(t, rel, Policy{})
			r.validate(dir, 40*ms1)
			r.wantCurrent("upgraded", dir.Key)
			r.pass(time.Second)
			r.received(dir.Key, true)
			died := r.now
			for r.now.Sub(died) < 5*time.Second && len(r.moves) < 2 {
				r.m.HandleSent(r.now, r.m.Current().Key, 1200) // data goes out, nothing comes back
				if stall && r.now.Sub(died) > 100*ms1 {
					r.m.HandleStall(r.now)
				}
				r.pass(20 * ms1)
				for _, a := range r.take(Challenge) {
					if a.Path.Key == rel.Key {
						r.acts = append(r.acts, a)
						r.answer(rel.Key)
						r.take(Challenge)
					}
				}
			}
			r.wantCurrent("the direct path has died", rel.Key)
			limit := 1600 * ms1
			if stall {
				limit = 900 * ms1
			}
			if took := r.now.Sub(died); took > limit {
				t.Errorf("falling back took %v, want at most %v", took, limit)
			}
			// It comes back, but not before its time.
			back := r.now
			for len(r.moves) < 3 && r.now.Sub(back) < time.Minute {
				r.pass(100 * ms1)
				r.received(rel.Key, true)
				for _, a := range r.take(Challenge) {
					r.acts = append(r.acts, a)
					r.answer(a.Path.Key)
				}
				r.take(Challenge)
			}
			if took := r.now.Sub(back); r.m.Current().Key != dir.Key || took < 1900*ms1 || took > 4*time.Second {
				t.Errorf("back on %v after %v, want the direct path after 2 s", r.m.Current(), took)
			}
		})
	}
}

func TestStallIsNotClearedByWhatArrives(t *testing.T) {
	cur, alt := direct("192.0.2.1:1"), relayed("198.51.100.1:1")
	r := newRig(t, cur, Policy{})
	r.validate(alt, 10*ms1)
	r.m.HandleStall(r.now)
	for range 20 { // the peer's packets come in, our challenges do not get out
		r.pass(50 * ms1)
		r.received(cur.Key, true)
		for _, a := range r.take(Challenge) {
			if a.Path.Key == alt.Key {
				r.acts = append(r.acts, a)
				r.answer(alt.Key)
				r.take(Challenge)
			}
		}
	}
	r.wantCurrent("the way out is dead", alt.Key)
}

func TestDeadAndBack(t *testing.T) {
	cur := direct("192.0.2.1:1")
	r := newRig(t, cur, Policy{})
	r.pass(time.Second)
	r.m.HandleSent(r.now, cur.Key, 100)
	r.pass(3 * time.Second)
	if got := r.take(Dead); len(got) != 1 || !r.m.Outage() || got[0].Why == "" {
		t.Fatalf("Dead actions = %v, Outage %v; want one that says why", got, r.m.Outage())
	}
	r.wantCurrent("there is nothing better", cur.Key)
	// The path is challenged for as long as it takes, at least every two seconds.
	for range 60 {
		r.take(Challenge)
		r.pass(probeMax + ms1)
		if got := r.take(Challenge); len(got) == 0 {
			t.Fatal("a dead session does not go on challenging")
		} else {
			r.acts = got
		}
	}
	r.answer(cur.Key)
	if r.m.Outage() || !r.m.Current().Validated {
		t.Error("the path has answered, but the outage goes on")
	}
	// Again, and this time the network returns with a new candidate.
	r.pass(time.Second)
	r.m.HandleSent(r.now, cur.Key, 100)
	r.pass(10 * time.Second)
	next := direct("192.0.2.7:1")
	r.validate(next, 30*ms1)
	r.wantCurrent("the first to answer", next.Key)
}

func TestViaLost(t *testing.T) {
	dir, rel1 := direct("192.0.2.1:1"), relayed("198.51.100.1:1")
	rel2 := Candidate{Key{2, addr("198.51.100.1:1")}, Relayed}
	r := newRig(t, dir, Policy{})
	r.validate(rel1, 50*ms1)
	r.validate(rel2, 20*ms1)
	r.m.HandleViaLost(r.now, 0)
	r.wantCurrent("our sockets are gone: the faster relay, at once", rel2.Key)
	r.wantMoves("failover", 1)
	r.m.HandleViaLost(r.now, 1)
	r.wantCurrent("a relay that is not in use", rel2.Key)
	r.m.HandleViaLost(r.now, 2)
	if got := r.take(Dead); len(got) != 1 || !r.m.Outage() {
		t.Fatalf("Dead actions = %v, want one", got)
	}
	if b := r.m.Budget(rel2.Key); b != 0 {
		t.Errorf("budget of a path without a binding = %d, want 0", b)
	}
	r.m.HandleViaLost(r.now, 2) // again
	r.pass(time.Minute)
	r.validate(dir, 30*ms1)
	r.wantCurrent("new sockets", dir.Key)
	if ps := r.m.Paths(); len(ps) != 1 {
		t.Errorf("paths = %v, want the new one only", ps)
	}
}

func TestKeepalive(t *testing.T) {
	cur := direct("192.0.2.1:1")
	r := newRigWith(t, cur, &Config{Standby: -1})
	var at []time.Duration
	last := r.now
	for range 20 {
		r.pass(100 * ms1)
		for len(r.take(Ping)) == 0 {
			r.pass(100 * ms1)
		}
		at = append(at, r.now.Sub(last))
		r.pass(30 * ms1)
		r.received(cur.Key, true) // its acknowledgement
		last = r.now
	}
	for _, d := range at {
		if d < 15900*ms1 || d > 18*time.Second {
			t.Errorf("ping after %v of silence, want 16 to 18 s", d)
		}
	}
	if at[0] == at[1] && at[1] == at[2] {
		t.Error("pings come at regular intervals; both sides would ping together")
	}
	for range 60 {
		r.pass(5 * time.Second)
		r.m.HandleSent(r.now, cur.Key, 40)
		r.received(cur.Key, true)
	}
	if got := r.take(Ping); len(got) > 0 {
		t.Errorf("%d pings although something is exchanged all the time", len(got))
	}
	for range 600 {
		r.pass(100 * ms1)
		r.received(cur.Key, true)
	}
	if got := r.take(Ping); len(got) < 3 {
		t.Errorf("%d pings in a minute in which nothing was sent, want one each 18 s: a NAT may heed only what is sent", len(got))
	}
	off := &rig{t: t, now: epoch, m: New(epoch, cur, &Config{Rand: seeded(1), Keepalive: -1, Standby: -1})}
	if next := off.m.NextTimeout(); !next.IsZero() {
		t.Errorf("NextTimeout without keepalive = %v, want none", next)
	}
}

func TestStandbyIsKeptWarm(t *testing.T) {
	rel, dir := relayed("198.51.100.1:1"), direct("192.0.2.1:1")
	r := newRig(t, rel, Policy{})
	r.validate(dir, 30*ms1)
	r.take(Challenge)
	last := r.now
	for range 10 {
		for len(r.acts) == 0 || r.acts[len(r.acts)-1].Op != Challenge {
			r.pass(100 * ms1)
			r.received(dir.Key, true)
			if n := len(r.acts); n > 0 && r.acts[n-1].Path.Key == dir.Key && r.acts[n-1].Op == Challenge {
				r.answer(dir.Key) // the current path is measured from time to time
				r.take(Challenge)
			}
		}
		if a := r.acts[len(r.acts)-1]; a.Path.Key != rel.Key {
			t.Fatalf("challenge by %v, want the standby path %v", a.Path, rel)
		}
		if d := r.now.Sub(last); d < 15*time.Second || d > 20200*ms1 {
			t.Errorf("standby path challenged after %v, want 15 to 20 s", d)
		}
		last = r.now
		r.answer(rel.Key)
		r.take(Challenge)
	}
	r.wantCurrent("standby", dir.Key)
}
