// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// eachSeed runs one body with different randomness.
func eachSeed(t *testing.T, f func(t *testing.T, seed uint64)) {
	for seed := range seeds(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { f(t, seed) })
	}
}

// directLab is a lab whose session has been upgraded to the direct path.
func directLab(t *testing.T, seed uint64) *lab {
	l := newLab(t, seed)
	l.introduce()
	l.run(time.Second)
	l.wantKind("introduced", Direct)
	return l
}

func isRelay(a netip.AddrPort) bool { return a == labRelay }

func blockDirect(from, to netip.AddrPort) bool { return !isRelay(from) && !isRelay(to) }
func blockAll(_, _ netip.AddrPort) bool        { return true }

func TestLabUpgrade(t *testing.T) {
	l := newLab(t, 1)
	l.a.talk(20 * ms1)
	l.b.talk(20 * ms1)
	l.run(2 * time.Second)
	l.wantKind("before introduction", Relayed)
	l.introduce()
	at := l.now
	for l.a.m.Current().Kind != Direct || l.b.m.Current().Kind != Direct {
		l.run(5 * ms1)
		if l.now.Sub(at) > 300*ms1 {
			l.dump()
			t.Fatal("no upgrade to the direct path after 300 ms")
		}
	}
	l.run(10 * time.Second)
	if l.a.switches != 1 || l.b.switches != 1 {
		l.dump()
		t.Errorf("%d and %d switches, want 1 each", l.a.switches, l.b.switches)
	}
}

func TestLabRebind(t *testing.T) {
	for _, both := range []bool{false, true} { // data one way, or both ways
		for _, loss := range []float64{0, 0.1} {
			t.Run(fmt.Sprintf("twoway=%v/loss=%v", both, loss), func(t *testing.T) {
				eachSeed(t, func(t *testing.T, seed uint64) {
					l := directLab(t, seed)
					l.a.talk(20 * ms1)
					if both {
						l.b.talk(20 * ms1)
					}
					l.run(3 * time.Second)
					l.loss = loss
					l.resetGaps()
					// A's NAT forgets it. B's NAT lets the new address in, as if it filtered nothing.
					l.a.socket = addr("192.0.2.1:2")
					l.b.open[[2]netip.AddrPort{l.b.socket, l.a.socket}] = l.now
					start := l.now
					for l.b.m.Current().Remote != l.a.socket {
						l.run(ms1)
						if l.now.Sub(start) > 5*time.Second {
							l.dump()
							t.Fatal("B did not follow")
						}
					}
					// 20 ms until the next packet, half a round trip, and one for the validation.
					if took := l.now.Sub(start); loss == 0 && took > 81*ms1 {
						t.Errorf("B followed after %v, want one round trip after the first packet", took)
					}
					l.run(2 * time.Second)
					l.loss = 0
					l.run(20 * time.Second)
					l.wantKind("rebound", Direct)
					if loss == 0 && l.b.gap > 45*ms1 {
						t.Errorf("B was without data for %v; A's path never changed", l.b.gap)
					}
					if loss == 0 && both && l.a.gap > 130*ms1 {
						t.Errorf("A was without data for %v, want a round trip and a bit", l.a.gap)
					}
				})
			})
		}
	}
}

func TestLabBothRebindAtOnce(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		l := directLab(t, seed)
		l.a.talk(20 * ms1)
		l.b.talk(20 * ms1)
		l.run(10 * time.Second)
		l.resetGaps()
		// Both NATs are port-restricted: neither lets the other's new address in. B's path to the relay goes on,
		// but from a new address; the relay's permission is for its host.
		l.a.socket, l.b.socket = addr("192.0.2.1:2"), addr("203.0.113.1:2")
		l.run(4 * time.Second)
		l.wantKind("both rebound", Relayed)
		if l.a.gap > 2500*ms1 || l.b.gap > 2500*ms1 {
			l.dump()
			t.Errorf("without data for %v and %v, want less than 2.5 s", l.a.gap, l.b.gap)
		}
		l.introduce()
		l.run(10 * time.Second)
		l.wantKind("introduced again", Direct)
	})
}

func TestLabDirectDiesAndReturns(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		l := directLab(t, seed)
		l.a.talk(20 * ms1)
		l.b.talk(50 * ms1)
		l.run(time.Duration(1+seed) * time.Second)
		l.resetGaps()
		l.blocked = blockDirect
		l.run(10 * time.Second)
		l.wantKind("direct blocked", Relayed)
		if l.a.gap > 2*time.Second || l.b.gap > 2*time.Second {
			l.dump()
			t.Errorf("without data for %v and %v, want less than 2 s", l.a.gap, l.b.gap)
		}
		l.blocked = nil
		l.run(45 * time.Second)
		l.wantKind("direct works again", Direct)
		if n := l.a.switches + l.b.switches; n > 8 {
			l.dump()
			t.Errorf("%d switches, want few", n)
		}
	})
}

// TestLabFlappingPath lets the direct path die and return every three seconds.
func TestLabFlappingPath(t *testing.T) {
	l := directLab(t, 1)
	l.a.talk(20 * ms1)
	l.b.talk(20 * ms1)
	l.run(time.Second)
	l.a.switches, l.b.switches = 0, 0
	for i := range 100 { // five minutes
		l.blocked = nil
		if i%2 == 0 {
			l.blocked = blockDirect
		}
		l.run(3 * time.Second)
	}
	for _, e := range []*end{l.a, l.b} {
		if e.switches > 60 {
			l.dump()
			t.Errorf("%s switched %d times in five minutes; a path that dies must be held off", e.name, e.switches)
		}
		if e.deads > 0 {
			t.Errorf("%s: the session was dead %d times though the relay always worked", e.name, e.deads)
		}
	}
}

func TestLabOutage(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute} {
		t.Run(outage.String(), func(t *testing.T) {
			eachSeed(t, func(t *testing.T, seed uint64) {
				l := directLab(t, seed)
				l.a.talk(20 * ms1)
				l.b.talk(20 * ms1)
				l.run(10 * time.Second)
				l.blocked = blockAll
				l.run(outage)
				if outage > 3*time.Second && (!l.a.m.Outage() || l.a.deads != 1 || l.b.deads != 1) {
					l.dump()
					t.Errorf("outage %v, Dead %d and %d times; want one each", l.a.m.Outage(), l.a.deads, l.b.deads)
				}
				l.blocked = nil
				l.resetGaps()
				l.run(3 * time.Second)
				if l.a.gap > 200*ms1 || l.b.gap > 200*ms1 || l.a.m.Outage() || l.b.m.Outage() {
					l.dump()
					t.Errorf("after the return without data for %v and %v", l.a.gap, l.b.gap)
				}
				l.run(time.Minute)
				l.wantKind("long after", Direct)
			})
		})
	}
}

// splitLab is a lab whose ends disagree: A sends by the relay and B directly, and both paths work.
func splitLab(t *testing.T, seed uint64) *lab {
	l := directLab(t, seed)
	l.a.m.cur.heldUntil = l.now.Add(24 * time.Hour)
	l.a.m.switchTo(l.now, l.a.m.lookup(Key{1, l.b.socket}), "the test wants it")
	l.a.drain()
	l.a.switches, l.b.switches = 0, 0
	return l
}

// TestLabIdle counts what an idle session costs, also when the two ends use different paths.
func TestLabIdle(t *testing.T) {
	for _, split := range []bool{false, true} {
		t.Run(fmt.Sprintf("split=%v", split), func(t *testing.T) {
			l := directLab(t, 1)
			if split {
				l = splitLab(t, 1)
			}
			l.run(time.Minute)
			before := l.packets
			const minutes = 60
			l.run(minutes * time.Minute)
			// Per minute: about 4 pings and 3.5 challenges of each end, each with an answer and an acknowledgement.
			if got := (l.packets - before) / minutes; got > 60 {
				t.Errorf("an idle session sends %d packets a minute, want at most 60", got)
			}
			if l.a.m.Outage() || l.b.m.Outage() || l.a.deads+l.b.deads > 0 {
				l.dump()
				t.Error("an idle session was thought dead")
			}
		})
	}
}

// TestLabSplit: two ends that use different paths for their data disturb each other little.
func TestLabSplit(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		l := splitLab(t, seed)
		l.a.talk(20 * ms1)
		l.b.talk(20 * ms1)
		l.loss = 0.02
		before := l.a.m.Stats().Challenges + l.b.m.Stats().Challenges
		l.run(time.Minute)
		if l.a.switches+l.b.switches > 2 {
			l.dump()
			t.Errorf("%d switches although both paths work", l.a.switches+l.b.switches)
		}
		if n := l.a.m.Stats().Challenges + l.b.m.Stats().Challenges - before; n > 250 {
			t.Errorf("%d challenges in a minute, want at most 250", n)
		}
	})
}

func TestLabLossyPathStays(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		l := directLab(t, seed)
		l.a.talk(20 * ms1)
		l.b.talk(500 * ms1)
		l.loss = 0.2
		l.run(time.Minute)
		if l.a.switches+l.b.switches > 4 {
			l.dump()
			t.Errorf("%d switches; 20 %% loss is no dead path", l.a.switches+l.b.switches)
		}
	})
}

func TestLabRelayLost(t *testing.T) {
	l := newLab(t, 3)
	l.a.talk(20 * ms1)
	l.run(time.Second)
	l.introduce()
	l.run(time.Second)
	l.a.m.HandleViaLost(l.now, 1)
	l.a.relay = netip.AddrPort{}
	l.a.drain()
	l.run(time.Minute)
	l.wantKind("the relay is gone", Direct)
}
