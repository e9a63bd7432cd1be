// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"testing"
	"time"
)

// quietLab is a session that has been idle for two minutes.
func quietLab(t *testing.T, seed uint64, isDirect bool) *lab {
	l := newLab(t, seed)
	l.a.cone, l.b.cone = true, true // else a direct standby path is lost when its NAT forgets, which costs a few packets
	if isDirect {
		l.introduce()
	}
	l.run(2 * time.Minute)
	for _, e := range []*end{l.a, l.b} {
		e.sent, e.quiet, e.lastOut = 0, 0, l.now
	}
	return l
}

func TestIdleCosts(t *testing.T) {
	for _, isDirect := range []bool{true, false} {
		t.Run(fmt.Sprintf("direct=%v", isDirect), func(t *testing.T) {
			for seed := range seeds(10) {
				l := quietLab(t, seed, isDirect)
				l.run(30 * time.Minute)
				for _, e := range []*end{l.a, l.b} {
					if e.sent > 120 {
						t.Errorf("seed %d: %s sent %d packets in 30 idle minutes, want at most one per 15 s: 120", seed, e.name, e.sent)
					}
					if e.quiet > 18*time.Second+100*ms1 {
						t.Errorf("seed %d: %s sent nothing by its current path for %v; its NAT may forget it after 20 s", seed, e.name, e.quiet)
					}
				}
				t.Logf("%d and %d packets, silent for at most %v and %v", l.a.sent, l.b.sent, l.a.quiet, l.b.quiet)
				if l.a.deads+l.b.deads > 0 {
					t.Errorf("seed %d: an idle session was thought dead", seed)
				}
			}
		})
	}
}

// TestFirstMessageAfterIdling: the NATs forget after 20 s, and a message gets through at once all the same.
func TestFirstMessageAfterIdling(t *testing.T) {
	for _, isDirect := range []bool{true, false} {
		for seed := range seeds(20) {
			l := newLab(t, seed)
			l.natLife = 20 * time.Second
			if isDirect {
				l.introduce()
			}
			l.run(10*time.Minute + time.Duration(seed)*time.Second)
			for _, e := range []*end{l.a, l.b} {
				d := e.peer
				d.lastData = time.Time{}
				e.send(e.m.Current().Key, packet{data: true, size: 60})
				l.run(61 * ms1)
				if d.lastData.IsZero() {
					l.dump()
					t.Fatalf("seed %d: direct %v: a message of %s after ten idle minutes did not arrive at once", seed, isDirect, e.name)
				}
			}
			if l.a.rebinds+l.b.rebinds > 0 {
				t.Errorf("seed %d: the NATs forgot %d times", seed, l.a.rebinds+l.b.rebinds)
			}
		}
	}
}

// TestStandbysAreCheckedWhenDataBegins: what was left alone for minutes is checked before it is needed.
func TestStandbysAreCheckedWhenDataBegins(t *testing.T) {
	l := quietLab(t, 3, true)
	l.run(7 * time.Minute)
	rel := l.a.m.lookup(Key{1, l.b.socket})
	if rel == nil {
		t.Fatal("the standby path is forgotten while the session is idle")
	}
	if age := l.now.Sub(rel.lastChallenge); age < 21*time.Second {
		t.Fatalf("the standby path was challenged %v ago; the session is idle", age)
	}
	l.a.talk(20 * ms1)
	l.run(time.Second)
	if age := l.now.Sub(rel.lastAnswer); age > time.Second {
		t.Errorf("data flows, but the standby path last answered %v ago", age)
	}
	l.run(30 * time.Second)
	if age := l.now.Sub(rel.lastAnswer); age > 21*time.Second {
		t.Errorf("data flows, but the standby path last answered %v ago, want 20 s at most", age)
	}
}

// TestFirstMessageChecksStandbys: a single message after a silence does, and a heartbeat does not do so each time.
func TestFirstMessageChecksStandbys(t *testing.T) {
	l := quietLab(t, 3, true)
	l.run(7 * time.Minute)
	rel := l.a.m.lookup(Key{1, l.b.socket})
	if rel == nil {
		t.Fatal("the standby path is forgotten while the session is idle")
	}
	say := func() {
		l.a.m.HandleActive(l.now)
		l.a.drain()
		l.a.send(l.a.m.Current().Key, packet{data: true, size: 60})
		l.run(300 * ms1)
	}
	say()
	if age := l.now.Sub(rel.lastAnswer); age > time.Second {
		t.Errorf("the standby path last answered %v before the end of a silence, want it checked at once", age)
	}
	before := l.a.m.Stats().Challenges
	for range 60 {
		l.run(10 * time.Second)
		say()
	}
	if n := l.a.m.Stats().Challenges - before; n > 8 {
		t.Errorf("%d challenges in ten minutes because of one message in ten seconds, want those of an idle session", n)
	}
}

// TestBatteryLearnsTheNAT: the silence grows to what the NATs bear, and stays below it after it was too long once.
func TestBatteryLearnsTheNAT(t *testing.T) {
	for _, life := range []time.Duration{0, 65 * time.Second} {
		t.Run(life.String(), func(t *testing.T) {
			l := newLab(t, 5)
			l.introduce()
			l.run(time.Second)
			l.natLife = life
			for _, e := range []*end{l.a, l.b} {
				e.cone = true // else the session is relayed for good when the NAT has forgotten, and nothing is learnt by a relay
				e.m.SetBattery(l.now, true)
			}
			l.run(15 * time.Minute)
			for _, e := range []*end{l.a, l.b} {
				e.sent, e.rebinds = 0, 0
			}
			l.run(40 * time.Minute)
			per := 40 * time.Minute / time.Duration(l.a.sent)
			t.Logf("%d and %d packets, %d rebindings", l.a.sent, l.b.sent, l.a.rebinds+l.b.rebinds)
			want := 100 * time.Second
			if life > 0 {
				want = 25 * time.Second
			}
			if per < want {
				t.Errorf("a packet each %v in battery mode, want at most one in %v", per, want)
			}
			if life > 0 && l.a.rebinds+l.b.rebinds > 2 {
				t.Errorf("%d rebindings in 40 minutes: it has not learned", l.a.rebinds+l.b.rebinds)
			}
			if l.a.m.Outage() || l.b.m.Outage() {
				l.dump()
				t.Error("the session is dead")
			}
			for _, e := range []*end{l.a, l.b} {
				e.m.SetBattery(l.now, false)
				e.lastOut, e.quiet = l.now, 0
			}
			l.run(time.Minute)
			l.a.quiet, l.b.quiet = 0, 0
			l.run(10 * time.Minute)
			if got := max(l.a.quiet, l.b.quiet); got > 18100*ms1 {
				t.Errorf("silent for %v although battery mode is off", got)
			}
		})
	}
}

// TestPolicyEndsBatteryMode: a silence that was learned does not outlive the mode.
func TestPolicyEndsBatteryMode(t *testing.T) {
	r := newRig(t, direct("192.0.2.1:1"), Policy{Battery: true})
	r.m.quiet.wait = batteryMost
	r.m.keepaliveWait = r.m.nextKeepalive()
	if r.m.keepaliveWait < batteryMost {
		t.Fatalf("silence of %v in battery mode, want what was learned", r.m.keepaliveWait)
	}
	r.m.SetPolicy(r.now, Policy{})
	if r.m.keepaliveWait > quietMost {
		t.Errorf("silence of %v after battery mode, want %v at most", r.m.keepaliveWait, quietMost)
	}
}
