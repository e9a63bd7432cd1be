// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

func TestExactDelay(t *testing.T) {
	const ms = time.Millisecond
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 20 * ms})
		a, b := l.host(netlab.Public), l.host(netlab.PortRestricted)
		near, err := l.AddHostWith(netlab.HostConfig{})
		if err != nil {
			t.Fatal(err)
		}
		sa, sb, sn := l.listen(a, 1), l.listen(b, 2), l.listen(near, 3)
		timed := func(f func()) time.Duration {
			start := time.Now()
			f()
			return time.Since(start)
		}
		check := func(what string, got, want time.Duration) {
			t.Helper()
			if got != want {
				t.Errorf("%s took %v, want exactly %v", what, got, want)
			}
		}
		for range 3 {
			check("host to host", timed(func() { sb.send(sa.addr(a), "x"); sa.want("x") }), 40*ms)
			check("host to near server", timed(func() { sa.send(sn.addr(near), "x"); sn.want("x") }), 20*ms)
			check("there and back", timed(func() {
				sb.send(sa.addr(a), "ping")
				sa.send(sa.want("ping"), "pong")
				sb.want("pong")
			}), 80*ms)
		}
		b.SetOneWay(0)
		check("after SetOneWay", timed(func() { sb.send(sa.addr(a), "x"); sa.want("x") }), 20*ms)
	})
}

func TestOrder(t *testing.T) {
	for _, jitter := range []time.Duration{0, 5 * time.Millisecond} {
		t.Run(fmt.Sprintf("jitter=%v", jitter), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond, Jitter: jitter, Seed: 1})
				a, b := l.host(netlab.FullCone), l.host(netlab.Public)
				sa, sb := l.listen(a, 1), l.listen(b, 1)
				const n = 500
				for i := range n {
					sa.send(sb.addr(b), fmt.Sprint(i))
				}
				start, swaps, last := time.Now(), 0, -1
				for range n {
					s, _, ok := sb.recv()
					var i int
					if _, err := fmt.Sscan(s, &i); err != nil || !ok {
						t.Fatalf("packet %q (%v): %v", s, ok, err)
					}
					if i < last {
						swaps++
					}
					last = i
				}
				if d := time.Since(start); d < 20*time.Millisecond || d > 20*time.Millisecond+2*jitter {
					t.Errorf("last packet after %v, want 20ms to %v", d, 20*time.Millisecond+2*jitter)
				}
				if (swaps > 0) != (jitter > 0) {
					t.Errorf("%d of %d packets overtaken with jitter %v", swaps, n, jitter)
				}
			})
		})
	}
}

func TestLoss(t *testing.T) {
	tests := []struct {
		name string
		set  func(l *lab, a, b *netlab.Host)
		want float64
	}{
		{"none", func(*lab, *netlab.Host, *netlab.Host) {}, 0},
		{"one link", func(_ *lab, a, _ *netlab.Host) { a.SetLoss(0.2) }, 0.2},
		{"both links", func(l *lab, _, _ *netlab.Host) { l.SetLoss(0.1) }, 0.19},
		{"all", func(_ *lab, _, b *netlab.Host) { b.SetLoss(1) }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first := arrivals(t, 7, tt.set)
			if again := arrivals(t, 7, tt.set); again != first {
				t.Error("the same seed lost other packets")
			}
			if other := arrivals(t, 8, tt.set); tt.want > 0 && tt.want < 1 && other == first {
				t.Error("another seed lost the same packets")
			}
			for way, in := range first {
				lost := 0
				for i := range in {
					if in[i] == 0 {
						lost++
					}
				}
				if got := float64(lost) / float64(len(in)); got < tt.want-0.02 || got > tt.want+0.02 {
					t.Errorf("direction %d: lost %.3f, want %.2f", way, got, tt.want)
				}
			}
		})
	}
}

// arrivals sends packets in both directions between two hosts and returns for each direction which of them arrived.
func arrivals(t *testing.T, seed uint64, set func(l *lab, a, b *netlab.Host)) (out [2][4000]byte) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: time.Millisecond, Seed: seed})
		a, b := l.host(netlab.Public), l.host(netlab.Public)
		set(l, a, b)
		sa, sb := l.listen(a, 1), l.listen(b, 1)
		const burst = 500 // a socket holds 1024
		for i := range out[0] {
			sa.send(sb.addr(b), fmt.Sprint(i))
			sb.send(sa.addr(a), fmt.Sprint(i))
			if i%burst != burst-1 {
				continue
			}
			for way, s := range []*sock{sb, sa} {
				for p, _, ok := s.recv(); ok; p, _, ok = s.recv() {
					var k int
					if _, err := fmt.Sscan(p, &k); err != nil {
						t.Fatal(err)
					}
					out[way][k] = 1
				}
			}
		}
	})
	return out
}

func TestDownAndBlock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		a, b := l.host(netlab.PortRestricted), l.host(netlab.Public)
		sa, sb := l.listen(a, 1), l.listen(b, 1)
		sa.send(sb.addr(b), "x")
		ext := sb.want("x")

		a.SetDown(true)
		sa.send(sb.addr(b), "out")
		sb.send(ext, "in")
		sb.wantNone("the sender's cable is cut")
		sa.wantNone("the receiver's cable is cut")

		sb.send(ext, "in flight")
		time.Sleep(15 * time.Millisecond)
		a.SetDown(false)
		sa.want("in flight") // had not arrived while the cable was cut
		sa.send(sb.addr(b), "back")
		if got := sb.want("back"); got != ext {
			t.Errorf("mapping became %v after a cut, want %v as before", got, ext)
		}

		a.BlockUDP(func(remote netip.AddrPort) bool { return remote == sb.addr(b) })
		sa.send(sb.addr(b), "out")
		sb.send(ext, "in")
		sb.wantNone("blocked")
		sa.wantNone("blocked")
		a.BlockUDP(nil)
		sb.send(ext, "open")
		sa.want("open")
	})
}
