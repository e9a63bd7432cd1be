// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// The port pool against a map that does the same slowly: no port twice, none early, none lost.
func TestPortPoolModel(t *testing.T) {
	for _, tt := range []struct {
		first, last uint16
		rest        time.Duration
	}{
		{49152, 65535, 2 * time.Minute},
		{65535, 65535, time.Second},
		{1, 1, 0},
		{50000, 50063, time.Second},
		{50000, 50064, 0},
		{50001, 50100, 10 * time.Second},
		{1, 65535, time.Minute},
	} {
		p := newPortPool(tt.first, tt.last, tt.rest)
		size := int(tt.last) - int(tt.first) + 1
		r := rand.New(rand.NewPCG(uint64(tt.first), uint64(tt.last)))
		now := time.Unix(1e9, 0)
		used := make(map[uint16]bool)
		resting := make(map[uint16]time.Time)
		var order []uint16
		for range 60_000 {
			now = now.Add(time.Duration(r.IntN(200)) * time.Millisecond)
			for port, until := range resting {
				if !until.After(now) {
					delete(resting, port)
				}
			}
			if n := size - len(used) - len(resting); p.available(now) != n {
				t.Fatalf("%d-%d: %d available, want %d", tt.first, tt.last, p.available(now), n)
			}
			if r.IntN(100) < 52 {
				even := r.IntN(4) == 0
				free := size - len(used) - len(resting)
				port, err := p.take(now, even)
				if until := resting[port]; err == nil && !until.IsZero() { // a port that rests, for want of another
					for _, other := range resting {
						if free > 0 || other.Before(until) {
							t.Fatalf("%d-%d: %d given out, which rests until %v, with %d free and others resting until %v",
								tt.first, tt.last, port, until, free, other)
						}
					}
					delete(resting, port)
				}
				if even && (err != nil || port%2 == 0) {
					if err == nil {
						p.putBack(port, false, now)
					}
					continue
				}
				if even {
					t.Fatalf("%d is not even", port)
				}
				if full := len(used) == size; (err != nil) != full {
					t.Fatalf("%d-%d: take = %v with %d used and %d resting of %d", tt.first, tt.last, err, len(used), len(resting), size)
				}
				if err != nil {
					continue
				}
				if used[port] || !resting[port].IsZero() || !p.contains(port) {
					t.Fatalf("%d-%d: %d given out, used %v, resting until %v", tt.first, tt.last, port, used[port], resting[port])
				}
				used[port] = true
				order = append(order, port)
			} else if len(order) > 0 {
				i := r.IntN(len(order))
				port := order[i]
				order[i] = order[len(order)-1]
				order = order[:len(order)-1]
				delete(used, port)
				p.give(port, now)
				if tt.rest > 0 {
					resting[port] = now.Add(tt.rest)
				}
			}
			if len(p.resting) > 2*(len(resting)+1) && len(p.resting) > 4 {
				t.Fatalf("%d entries kept for %d resting ports", len(p.resting), len(resting))
			}
		}
	}
}

// A pool has no counters that could wrap: after many more rounds than it has ports, the last port is still found.
func TestPortPoolNeverWearsOut(t *testing.T) {
	p := newPortPool(65000, 65535, 0)
	now := time.Unix(0, 1<<62) // the clock's far end
	held := make([]uint16, 0, 536)
	for range 535 {
		port, err := p.take(now, false)
		ok(t, err)
		held = append(held, port)
	}
	for range 1_000_000 {
		port, err := p.take(now, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.take(now, false); err != errNoPorts {
			t.Fatalf("the pool is full, take = %v", err)
		}
		p.give(port, now)
	}
	for _, port := range held {
		p.give(port, now)
	}
	if n := p.available(now); n != 536 {
		t.Errorf("%d ports at the end, want 536", n)
	}
}

// Ports must not be predictable: over many draws each is as likely as another.
func TestPortPoolIsUniform(t *testing.T) {
	p := newPortPool(50000, 50099, 0)
	var count [100]int
	const draws = 100_000
	for range draws {
		port, err := p.take(time.Time{}, false)
		ok(t, err)
		count[port-50000]++
		p.give(port, time.Time{})
	}
	chi := 0.0
	for _, n := range count {
		d := float64(n) - draws/100
		chi += d * d / (draws / 100)
	}
	if chi > 180 { // 99 degrees of freedom: one in a million
		t.Errorf("chi-square of port choice = %.0f", chi)
	}
}

// Quota: sum(users) == total == live allocations, and nothing is remembered of users without any.
func TestQuotaModel(t *testing.T) {
	q := newQuota(3, 20)
	r := rand.New(rand.NewPCG(3, 4))
	users := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	model := make(map[string]int)
	sum := 0
	for range 100_000 {
		u := users[r.IntN(len(users))]
		if r.IntN(2) == 0 {
			want := 0
			switch {
			case sum == 20:
				want = 508
			case model[u] == 3:
				want = 486
			}
			if f, got := q.full(u), q.take(u); got != want || f != want {
				t.Fatalf("take(%s) = %d, full = %d, want %d (%d of its own, %d in all)", u, got, f, want, model[u], sum)
			}
			if want == 0 {
				model[u]++
				sum++
			}
		} else if model[u] > 0 {
			q.give(u)
			sum--
			if model[u]--; model[u] == 0 {
				delete(model, u)
			}
		}
		if q.live() != sum || len(q.users) != len(model) {
			t.Fatalf("live %d, %d users; want %d, %d", q.live(), len(q.users), sum, len(model))
		}
	}
}

func TestLimiter(t *testing.T) {
	l := newLimiter(10, 20)
	now := time.Unix(1e9, 0)
	a, b := netip.MustParseAddr("8.0.0.1"), netip.MustParseAddr("8.0.0.2")
	pass := func(a netip.Addr, n int) (yes int) {
		for range n {
			if l.allow(a, now) {
				yes++
			}
		}
		return yes
	}
	if n := pass(a, 100); n != 20 {
		t.Errorf("%d of 100 at once, want the burst of 20", n)
	}
	if n := pass(b, 100); n != 20 {
		t.Errorf("another source: %d, want 20", n)
	}
	if n := pass(netip.AddrFrom16(a.As16()), 10); n != 0 {
		t.Errorf("the same source in another form: %d, want 0", n)
	}
	now = now.Add(time.Second)
	if n := pass(a, 100); n != 10 {
		t.Errorf("%d after a second, want 10", n)
	}
	now = now.Add(time.Hour)
	if n := pass(a, 100); n != 20 {
		t.Errorf("%d after an hour, want 20", n)
	}
	if n := pass(netip.MustParseAddr("2600::1"), 30) + pass(netip.MustParseAddr("2600::2"), 30); n != 20 {
		t.Errorf("%d for two addresses of one /64, want 20 together", n)
	}
	// A flood of sources gets what the common bucket holds, and the table does not grow.
	total := 0
	for i := range 1_000_000 {
		if l.allow(netip.AddrFrom4([4]byte{9, byte(i >> 16), byte(i >> 8), byte(i)}), now) {
			total++
		}
	}
	if limit := 20 * globalFactor; total > limit || len(l.slots) != tableSize {
		t.Errorf("%d of a million sources answered, want at most %d; table of %d", total, limit, len(l.slots))
	}
	if n := newLimiter(-1, 0); !n.allow(a, now) {
		t.Error("a negative rate means no limit")
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := newLimiter(10, 20)
	a := netip.MustParseAddr("8.0.0.1")
	now := time.Unix(1e9, 0)
	b.ReportAllocs()
	for b.Loop() {
		l.allow(a, now)
	}
}
