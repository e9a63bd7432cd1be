// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestBetter(t *testing.T) {
	const ms = time.Millisecond
	mk := func(k Kind, valid bool, rtt time.Duration) Path { return Path{Kind: k, Validated: valid, RTT: rtt} }
	for _, tt := range []struct {
		name   string
		p, cur Path
		margin time.Duration
		want   bool
	}{
		{"the same", mk(Direct, true, 50*ms), mk(Direct, true, 50*ms), 0, false},
		{"direct beats relayed", mk(Direct, true, 90*ms), mk(Relayed, true, 10*ms), 20 * ms, true},
		{"relayed never beats direct", mk(Relayed, true, 1*ms), mk(Direct, true, 900*ms), 20 * ms, false},
		{"direct but unproven", mk(Direct, false, 10*ms), mk(Relayed, true, 90*ms), 20 * ms, false},
		{"anything that works beats what does not", mk(Relayed, true, 90*ms), mk(Direct, false, 10*ms), 20 * ms, true},
		{"neither works, direct first", mk(Direct, false, 0), mk(Relayed, false, 0), 20 * ms, true},
		{"within the margin", mk(Direct, true, 81*ms), mk(Direct, true, 100*ms), 20 * ms, false},
		{"at the margin", mk(Direct, true, 80*ms), mk(Direct, true, 100*ms), 20 * ms, false},
		{"beyond the margin", mk(Direct, true, 79*ms), mk(Direct, true, 100*ms), 20 * ms, true},
		{"slower", mk(Direct, true, 150*ms), mk(Direct, true, 100*ms), 20 * ms, false},
		{"long paths need an eighth", mk(Direct, true, 360*ms), mk(Direct, true, 400*ms), 20 * ms, false},
		{"long paths, a quarter less", mk(Direct, true, 300*ms), mk(Direct, true, 400*ms), 20 * ms, true},
		{"no margin", mk(Relayed, true, 80*ms), mk(Relayed, true, 100*ms), 0, true},
		{"no margin, but jitter", mk(Relayed, true, 99*ms), mk(Relayed, true, 100*ms), 0, false},
		{"unmeasured does not win", mk(Direct, true, 0), mk(Direct, true, 100*ms), 0, false},
		{"unmeasured does not lose", mk(Direct, true, 10*ms), mk(Direct, true, 0), 0, false},
	} {
		if got := better(tt.p, tt.cur, tt.margin); got != tt.want {
			t.Errorf("%s: better = %v, want %v", tt.name, got, tt.want)
		}
		if tt.want && better(tt.cur, tt.p, tt.margin) {
			t.Errorf("%s: each is better than the other", tt.name)
		}
	}
}

func TestBetterByAddress(t *testing.T) {
	const ms = time.Millisecond
	mk := func(remote string, rtt time.Duration, loss float64) Path {
		return Path{Key: Key{0, addr(remote)}, Validated: true, RTT: rtt, Loss: loss}
	}
	v4, v6, lan, ula := "192.0.2.1:1", "[2001:db8::1]:1", "192.168.1.7:1", "[fd00::1]:1"
	relay := mk(v4, 50*ms, 0)
	relay.Kind = Relayed
	for _, tt := range []struct {
		name   string
		p, cur Path
		want   bool
	}{
		{"IPv6 that takes as long", mk(v6, 50*ms, 0), mk(v4, 50*ms, 0), true},
		{"IPv6 that takes a little longer", mk(v6, 60*ms, 0), mk(v4, 50*ms, 0), true},
		{"IPv6 that takes longer", mk(v6, 61*ms, 0), mk(v4, 50*ms, 0), false},
		{"IPv4 that takes a little less", mk(v4, 45*ms, 0), mk(v6, 60*ms, 0), false},
		{"IPv4 that takes much less", mk(v4, 35*ms, 0), mk(v6, 60*ms, 0), true},
		{"the local network before a hairpin", mk(lan, 2*ms, 0), mk(v4, 2*ms, 0), true},
		{"a local network that is slower", mk(lan, 3*ms, 0), mk(v4, 2*ms, 0), false},
		{"a hairpin before the local network", mk(v4, 2*ms, 0), mk(lan, 3*ms, 0), false},
		{"a unique local address", mk(ula, 2*ms, 0), mk(v6, 2*ms, 0), true},
		{"a loss that is bad, to a relay", relay, mk(v4, 20*ms, 0.3), true},
		{"a loss that can be borne", relay, mk(v4, 20*ms, 0.2), false},
		{"back to a path that loses", mk(v4, 20*ms, 0.2), relay, false},
		{"back to a path that no longer does", mk(v4, 20*ms, 0.05), relay, true},
	} {
		if got := better(tt.p, tt.cur, 20*ms); got != tt.want {
			t.Errorf("%s: better = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestBetterIsAntisymmetric: no two paths are better than each other, or a session would never come to rest.
func TestBetterIsAntisymmetric(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	addrs := []string{"192.0.2.1:1", "[2001:db8::1]:1", "192.168.1.7:1", "[fd00::1]:1"}
	some := func() Path {
		return Path{
			Key: Key{0, addr(addrs[rng.IntN(4)])}, Kind: Kind(rng.IntN(2)), Validated: rng.IntN(8) > 0,
			RTT: time.Duration(rng.IntN(80)) * time.Millisecond, Loss: float64(rng.IntN(8)) / 16,
		}
	}
	for range 20000 {
		a, b, margin := some(), some(), time.Duration(rng.IntN(3)*10)*time.Millisecond
		if better(a, b, margin) && better(b, a, margin) {
			t.Fatalf("%+v and %+v are better than each other", a, b)
		}
	}
}

// What a path loses in a gap, of which it has recovered, is no reason to leave it: neither while it was in doubt nor what is
// found lost later, nor a burst of losses on a path that is well otherwise.
func TestGapIsNoLoss(t *testing.T) {
	here, relay := direct("192.0.2.1:1"), relayed("192.0.2.9:1")
	r := newRig(t, here, Policy{})
	r.validate(relay, 40*time.Millisecond)
	healthy := func(d time.Duration) {
		for range d / (20 * time.Millisecond) {
			r.pass(20 * time.Millisecond)
			r.m.HandleSent(r.now, here.Key, 1000)
			r.received(here.Key, true)
			r.m.HandleLosses(r.now, 6, 0)
		}
	}
	healthy(10 * time.Second)
	r.m.HandleStall(r.now)
	r.drain()
	r.pass(40 * time.Millisecond)
	r.answer(here.Key)
	for range 5 { // what had been sent before is found lost as acknowledgements come in
		r.pass(10 * time.Millisecond)
		r.m.HandleLosses(r.now, 2, 20)
	}
	r.validate(relay, 40*time.Millisecond) // which has hurried to help
	r.wantCurrent("after a gap", here.Key)

	healthy(10 * time.Second)
	r.m.HandleLosses(r.now, 2, 60)
	r.validate(relay, 40*time.Millisecond)
	r.wantCurrent("after a burst of losses", here.Key)
	r.wantMoves("in all", 0)

	for range 400 {
		r.pass(20 * time.Millisecond)
		r.received(here.Key, true)
		r.m.HandleLosses(r.now, 4, 2)
	}
	if loss := r.m.Current().Loss; loss < 0.3 {
		t.Errorf("a path that loses a third for eight seconds counts as losing %v", loss)
	}
}
