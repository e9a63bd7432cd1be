// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"testing"
	"time"
)

// TestRate: the rate of delivery is that of the path, however sending and acknowledging is bunched.
// draft-ietf-ccwg-bbr §4.1.
func TestRate(t *testing.T) {
	for _, test := range []struct {
		name        string
		burst, acks int // packets sent at once, packets acknowledged at once
	}{{"smooth", 1, 1}, {"acks in bunches", 1, 8}, {"sent in bunches", 8, 1}, {"both", 8, 8}} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, Config[uint64]{})
			const each = ms // the path carries a packet per millisecond, 1.2 MB/s
			start, acked := l.now, uint64(0)
			for tick := range 800 {
				l.now = start.Add(time.Duration(tick) * each)
				if tick%test.burst == 0 {
					l.send(test.burst)
				}
				// Packet n is delivered at tick n+40 at the earliest.
				if n := uint64(max(tick-40+1, 0)); n > acked && n%uint64(test.acks) == 0 {
					l.ack(0, n-1)
					acked = n
				}
			}
			if len(l.cc.acks) < 80 {
				t.Fatalf("%d acknowledgements, the test is wrong", len(l.cc.acks))
			}
			for i, a := range l.cc.acks {
				if i == 0 || a.Rate.Prior < 20*1200 { // the first interval begins with a round trip of nothing
					continue
				}
				if r := a.Rate.BytesPerSecond(); r < 0.8*1.2e6 || r > 1.25*1.2e6 || a.Rate.AppLimited || a.Rate.Lost != 0 {
					t.Fatalf("acknowledgement %d: %+v, %.0f B/s; want about 1200000", i, a.Rate, r)
				}
				if want := l.cc.acks[i-1].Rate.Total + uint64(a.Bytes); a.Rate.Total != want {
					t.Fatalf("acknowledgement %d: total %d, want %d", i, a.Rate.Total, want)
				}
			}
		})
	}
}

// TestRateAppLimited: samples of packets sent when there was too little to send say so, until those are delivered.
func TestRateAppLimited(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(2) // 0, 1
	l.NothingToSend()
	l.advance(10 * ms)
	l.send(1) // 2
	l.advance(40 * ms)
	l.ack(0, 1)
	l.send(1) // 3
	l.advance(10 * ms)
	l.ack(0, 2)
	l.advance(40 * ms)
	l.send(1) // 4
	l.ack(0, 3)
	l.advance(50 * ms)
	l.ack(0, 4)
	want := []bool{false, true, true, false}
	for i, a := range l.cc.acks {
		if a.Rate.AppLimited != want[i] {
			t.Errorf("acknowledgement %d: limited by the application %v, want %v", i, a.Rate.AppLimited, want[i])
		}
	}
}

// TestRateLost: a sample says how much was lost in its interval.
func TestRateLost(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(6)
	l.advance(50 * ms)
	l.ack(5, 5) // 0 to 2 are found lost after the sample
	l.send(1)   // 6
	l.ack(4, 5) // 3
	l.advance(50 * ms)
	l.send(4)
	l.ack(6, 6)
	if n := len(l.cc.acks); n != 3 {
		t.Fatalf("%d acknowledgements, want 3", n)
	}
	if r := l.cc.acks[1].Rate; r.Lost != 3*1200 {
		t.Errorf("lost in the interval of packet 4: %d, want three packets", r.Lost)
	}
	if r := l.cc.acks[2].Rate; r.Lost != 1200 && r.Lost != 0 {
		t.Errorf("lost in the interval of packet 6: %d, want at most packet 3", r.Lost)
	}
}
