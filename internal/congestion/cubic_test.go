// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math"
	"testing"
	"time"
)

// drive acknowledges whole windows to c for d, one acknowledgement of two packets at a time, over a path of rtt. It
// returns the time after that.
func drive(c Controller, now time.Time, rtt, d time.Duration) time.Time {
	const packet = 1200
	number := uint64(now.Sub(epoch)/time.Microsecond) << 8 // above those of earlier calls
	for end := now.Add(d); now.Before(end); {
		window := c.Window()
		n := max(window/packet, 2)
		for range n {
			c.HandleSent(now, number, packet, window)
			number++
		}
		for i := 0; i < n; i += 2 {
			at := now.Add(rtt * time.Duration(i) / time.Duration(n))
			c.HandleAck(at.Add(rtt), &Ack{
				Bytes: 2 * packet, Packets: 2, Largest: number - uint64(n-i) + 1, SentAt: at, RTT: rtt, MinRTT: rtt,
				SmoothedRTT: rtt, InFlight: window - 2*packet, PriorInFlight: window, Limited: true,
			})
		}
		now = now.Add(rtt)
	}
	return now
}

func lose(c Controller, now time.Time) {
	c.HandleLoss(now, &Loss{
		Bytes: 1200, Packets: 1, SentAt: now.Add(-time.Millisecond), Prior: c.Window(), InFlight: c.Window() - 1200,
	})
}

// TestCUBICCurve follows W_cubic(t) = C*(t-K)^3 + W_max, RFC 9438 §4.2, through its concave and convex parts.
func TestCUBICCurve(t *testing.T) {
	c := NewCUBIC(1200).(*cubic)
	c.cwnd, c.ssthresh, c.initial, c.limited = 500*1200, 500*1200, false, true
	now := epoch.Add(time.Second)
	lose(c, now)
	if got := c.Window() / 1200; got != 350 {
		t.Fatalf("window after a loss: got %d packets, want 0.7 of 500", got)
	}
	k := math.Cbrt(500 * 0.3 / 0.4) // 7.2 s
	const rtt = 100 * time.Millisecond
	start := now
	for _, at := range []float64{2, 4, 7.2, 9, 12} {
		now = drive(c, now, rtt, start.Add(time.Duration(at*float64(time.Second))).Sub(now))
		dt := now.Sub(start).Seconds() - k
		want := 0.4*dt*dt*dt + 500
		if got := c.cwnd / 1200; math.Abs(got-want) > 0.03*want {
			t.Errorf("window after %.1f s: got %.1f packets, want %.1f as the curve has it", at, got, want)
		}
	}
}

// TestCUBICRenoFriendly: on short paths with little room CUBIC grows as Reno would. RFC 9438 §4.3.
func TestCUBICRenoFriendly(t *testing.T) {
	c := NewCUBIC(1200).(*cubic)
	c.cwnd, c.ssthresh, c.initial, c.limited = 20*1200, 20*1200, false, true
	now := epoch.Add(time.Second)
	lose(c, now)
	now = now.Add(time.Millisecond)
	drive(c, now, 10*time.Millisecond, 400*time.Millisecond)
	// 6 packets at 0.53 per round trip take a dozen of the 40, the others give one each.
	if got := c.cwnd / 1200; got < 40 || got > 52 {
		t.Errorf("window after 40 round trips: got %.1f packets, want about 46: 14 + 6 + 26", got)
	}
}

func TestCUBICFastConvergence(t *testing.T) {
	c := NewCUBIC(1200).(*cubic)
	c.cwnd, c.ssthresh, c.initial, c.limited = 100*1200, 100*1200, false, true
	lose(c, epoch.Add(time.Second))
	if got := c.curve.wMax; got != 100 {
		t.Errorf("W_max after the first loss: got %v, want 100", got)
	}
	lose(c, epoch.Add(2*time.Second))
	if got := c.curve.wMax; math.Abs(got-70*0.85) > 0.01 {
		t.Errorf("W_max after a loss below W_max: got %v, want (1+0.7)/2 of 70: RFC 9438 §4.7", got)
	}
}

// TestCUBICLimited: time in which the application sent nothing is no time of the curve. RFC 9438 §5.8.
func TestCUBICLimited(t *testing.T) {
	c := NewCUBIC(1200).(*cubic)
	c.cwnd, c.ssthresh, c.initial, c.limited = 100*1200, 100*1200, false, true
	now := epoch.Add(time.Second)
	lose(c, now)
	now = drive(c, now.Add(time.Millisecond), 50*time.Millisecond, time.Second)
	before := c.Window()
	for range 600 {
		now = now.Add(100 * time.Millisecond)
		c.HandleAck(now, &Ack{Bytes: 1200, Packets: 1, Largest: c.next, SentAt: now.Add(-50 * time.Millisecond), RTT: 50 * time.Millisecond})
	}
	if c.Window() != before {
		t.Errorf("window grew from %d to %d though it was not used", before, c.Window())
	}
	drive(c, now, 50*time.Millisecond, 100*time.Millisecond)
	if got := float64(c.Window()) / float64(before); got > 1.1 {
		t.Errorf("window grew to %.2f times of what it was in a moment after a minute of leisure", got)
	}
}

func TestCUBICSpurious(t *testing.T) {
	c := NewCUBIC(1200).(*cubic)
	c.cwnd, c.ssthresh, c.initial, c.limited = 100*1200, 100*1200, false, true
	now := epoch.Add(time.Second)
	lose(c, now)
	c.HandleSpurious(now.Add(10*time.Millisecond), now.Add(-time.Millisecond))
	if got := c.Window() / 1200; got != 100 || c.curve.wMax != 0 {
		t.Errorf("window %d, W_max %v after the loss turned out to be none; want 100 and what was before", got, c.curve.wMax)
	}
	c.HandleAck(now, &Ack{Bytes: 1200, Packets: 1, SentAt: now, RTT: time.Millisecond, CE: 1, PriorInFlight: 120_000, Limited: true})
	c.HandleSpurious(now.Add(time.Millisecond), now.Add(-time.Millisecond))
	if got := c.Window() / 1200; got != 85 {
		t.Errorf("window after a mark: got %d packets, want 85, RFC 8511 §3.1, and no undoing", got)
	}
}

func TestCUBICPersistentCongestion(t *testing.T) {
	c := NewCUBIC(1200)
	drive(c, epoch, 50*time.Millisecond, 200*time.Millisecond)
	c.HandlePersistentCongestion(epoch.Add(time.Second))
	if c.Window() != 2400 {
		t.Errorf("window %d after persistent congestion, want two packets", c.Window())
	}
}

// TestHyStart: longer round trips slow the growth down and end it after five rounds, unless they become short again.
// RFC 9406 §4.2.
func TestHyStart(t *testing.T) {
	var h hyStart
	number := uint64(0)
	round := func(rtt time.Duration) (divisor int, done bool) {
		next := number + 20
		for range 10 {
			d, over := h.handleAck(&Ack{Largest: number + 1, RTT: rtt}, next)
			divisor, done = d, done || over
			number += 2
		}
		return divisor, done
	}
	for i, test := range []struct {
		rtt     time.Duration
		divisor int
		done    bool
	}{
		{100 * ms, 1, false},
		{104 * ms, 1, false}, // less than an eighth more
		{118 * ms, 4, false},
		{110 * ms, 1, false}, // was no queue
		{125 * ms, 4, false},
		{125 * ms, 4, false},
		{125 * ms, 4, false},
		{125 * ms, 4, false},
		{125 * ms, 4, false},
		{125 * ms, 1, true},
	} {
		if divisor, done := round(test.rtt); divisor != test.divisor || done != test.done {
			t.Fatalf("round %d of %v: growth divided by %d, over: %v; want %d, %v", i, test.rtt, divisor, done, test.divisor, test.done)
		}
	}
}

// TestCUBICAlone: CUBIC uses the link and fills its queue.
func TestCUBICAlone(t *testing.T) {
	s := newSim(1, homeLink())
	s.add(NewCUBIC(simPacket), sloppy)
	s.run(20 * time.Second)
	atLeast(t, "on the wire, of the link", s.wire(20e6), 0.97)
	atLeast(t, "median queueing delay", s.link.queueDelay(0.5, 0, s.now), 40*ms)
}
