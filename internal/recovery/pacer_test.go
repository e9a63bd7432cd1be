// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"testing"
	"time"
)

// TestPacer: the rate is kept whatever the clock's grain, and a burst is ten packets. RFC 9002 §7.7.
func TestPacer(t *testing.T) {
	for _, late := range []time.Duration{0, 300 * time.Microsecond, 3 * ms} {
		var p pacer
		now := time.Hour
		p.set(0, 100_000, 1000, 100*ms, 1.25) // 1.25 MB/s
		n := 0
		for ; p.advance(now); n++ {
			p.sent(1000)
		}
		if n != burstPackets {
			t.Errorf("burst of %d packets, want %d", n, burstPackets)
		}
		start := now
		for range 1000 {
			for !p.advance(now) {
				next := p.next()
				if next <= now {
					t.Fatal("the pacer waits for the past")
				}
				now = next + late
			}
			p.sent(1000)
		}
		if rate := 1_000_000 / (now - start).Seconds(); rate < 1.2e6 || rate > 1.3e6 {
			t.Errorf("paced at %.0f B/s by a clock that is %v late, want 1.25 times the window per round trip: 1250000", rate, late)
		}
	}
}

// TestPacerBatches: at high rates what leaves at once fills a batch, and no timer is shorter than half a millisecond.
func TestPacerBatches(t *testing.T) {
	var p pacer
	now := time.Hour
	p.set(125e6, 0, 1200, 0, 0) // 1 Gbit/s
	for p.advance(now) {
		p.sent(1200)
	}
	for range 100 {
		next := p.next()
		if next-now < paceTime-20*time.Microsecond {
			t.Fatalf("woken up after %v, want half a millisecond", next-now)
		}
		now = next
		n := 0
		for p.advance(now) {
			p.sent(1200)
			n += 1200
		}
		if n < 60_000 || n > 66_000 {
			t.Fatalf("%d bytes at once, want what half a millisecond carries", n)
		}
	}
}

// TestPacerIdle: silence earns no more than a burst.
func TestPacerIdle(t *testing.T) {
	var p pacer
	now := time.Hour
	p.set(1e6, 0, 1000, 0, 0)
	p.advance(now)
	p.sent(5000)
	now += time.Minute
	n := 0
	for ; p.advance(now); n++ {
		p.sent(1000)
	}
	if n != burstPackets {
		t.Errorf("%d packets at once after a minute, want %d", n, burstPackets)
	}
}

// TestUnpaced: where a round trip is shorter than a timer, pacing holds nothing back.
func TestUnpaced(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(1)
	l.advance(50 * time.Microsecond)
	l.ack(0, 0)
	n := 0
	for ok := true; ok && n < 100; n++ {
		l.send(1)
		var next time.Time
		if ok, next = l.CanSend(l.now); !next.IsZero() {
			t.Fatalf("held back until %v after the last acknowledgement", next.Sub(l.now))
		}
	}
	if l.InFlight()+1200 <= l.Window() {
		t.Errorf("stopped at %d of %d bytes", l.InFlight(), l.Window())
	}
}

// TestPacingRate: a controller's own rate is obeyed, at any round-trip time.
func TestPacingRate(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.cc.rate = 1.2e6 // a packet per millisecond
	l.cc.window = 2_000_000
	start, n := l.now, 0
	for l.now.Sub(start) < time.Second {
		ok, next := l.CanSend(l.now)
		switch {
		case ok:
			l.send(1)
			n++
		case next.IsZero():
			t.Fatalf("the window of %d is in the way", l.Window())
		default:
			l.now = next
		}
	}
	if n < 1000 || n > 1000+burstPackets+1 {
		t.Errorf("%d packets in a second, want 1000 and a burst", n)
	}
}
