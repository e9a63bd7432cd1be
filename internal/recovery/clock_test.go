// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"math"
	"testing"
	"time"
)

// TestSuspended: a host that slept with packets in flight neither takes the nap for a round trip nor waits that long
// ever after.
func TestSuspended(t *testing.T) {
	for _, nap := range []time.Duration{5 * time.Second, time.Hour, 1000 * time.Hour} {
		l := newLab(t, Config[uint64]{})
		l.send(1)
		l.advance(20 * ms)
		l.ack(0, 0)
		pto := l.PTO()
		l.send(4) // 1 to 4
		l.advance(nap)
		l.ack(4, 4) // while the timer waits to be looked at
		if s, _ := l.RTT(); s != 20*ms || l.PTO() != pto {
			t.Errorf("after %v: round-trip time %v, probe timeout %v; want 20ms, %v", nap, s, l.PTO(), pto)
		}
		l.send(1)
		if wait := l.NextTimeout().Sub(l.now); wait > time.Second {
			t.Errorf("after %v: next timeout in %v, want soon", nap, wait)
		}
		l.advance(30 * ms)
		l.ack(5, 5)
		if s, _ := l.RTT(); s <= 20*ms || s > 30*ms {
			t.Errorf("after %v: round-trip time %v once measured again, want more than 20ms", nap, s)
		}
	}
}

// TestTimeoutIsBounded: whatever round-trip times a peer makes us believe, we look for it every ten seconds.
func TestTimeoutIsBounded(t *testing.T) {
	l := newLab(t, Config[uint64]{InitialRTT: 1000 * time.Hour})
	l.send(10)
	for n, start := range []time.Time{l.now, l.now, l.now} {
		for l.now.Sub(start) < 10*time.Hour {
			at := l.NextTimeout()
			if wait := at.Sub(l.now); wait <= 0 || wait > MaxPTO {
				t.Fatalf("after %v, with %d acknowledged: next timeout in %v, want at most %v", l.now.Sub(start), n, wait, MaxPTO)
			}
			l.now = at
			l.HandleTimeout(l.now)
			l.send(2)
		}
		l.ack(uint64(n), uint64(n)) // of a packet sent long ago
		l.now = l.now.Add(time.Second)
	}
}

// TestClockGoesBack: time that goes back stands still.
func TestClockGoesBack(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(1)
	l.advance(20 * ms)
	l.ack(0, 0)
	for i := range 200 {
		l.send(2)
		back := time.Duration(i%7) * time.Minute
		l.advance(-back)
		if ok, next := l.CanSend(l.now); !ok && !next.IsZero() && next.Before(l.now) {
			t.Fatalf("to be called at %v, before now, %v", next, l.now)
		}
		l.ack(l.pn-2, l.pn-1)
		l.advance(back + 20*ms)
		if s, _ := l.RTT(); s <= 0 || s > 25*ms || l.InFlight() != 0 {
			t.Fatalf("round-trip time %v, %d in flight", s, l.InFlight())
		}
	}
}

// TestPacerHasNoDebt: what was sent while pacing did not matter is not held against the sender when it does.
func TestPacerHasNoDebt(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.cc.window = 12_000_000
	l.send(1)
	l.CanSend(l.now) // nothing is known of the path: paced
	rtt := 100 * time.Microsecond
	l.advance(rtt)
	l.ack(0, 0)
	for range 1000 {
		first := l.pn
		for range 100 {
			if ok, _ := l.CanSend(l.now); !ok {
				t.Fatalf("held back at a round trip of %v", rtt)
			}
			l.send(1)
		}
		l.advance(rtt)
		l.ack(first, l.pn-1)
	}
	l.cc.window = 24_000 // a loss, and a longer way
	for range 100 {
		l.send(1)
		l.advance(10 * ms)
		l.ack(l.pn-1, l.pn-1)
		l.CanSend(l.now)
	}
	l.advance(10 * ms)
	if ok, next := l.CanSend(l.now); !ok {
		t.Errorf("held back for %v after a second of near silence", next.Sub(l.now))
	}
}

// TestPacerSlowsDown: permission earned at a high rate does not outlast it.
func TestPacerSlowsDown(t *testing.T) {
	for _, high := range []float64{1e9, 1e12, math.Inf(1)} {
		var p pacer
		now := time.Hour
		p.set(high, 0, 1200, 0, 0)
		p.advance(now)
		now += 10 * ms
		p.advance(now)
		p.set(120e3, 0, 1200, 0, 0) // a packet in 10 ms
		n := 0
		for ; n < 1000 && p.advance(now); n++ {
			p.sent(1200)
		}
		if n > burstPackets+1 {
			t.Errorf("from %g to 120000 B/s: %d packets at once, want a burst of %d", high, n, burstPackets)
		}
	}
}

// TestPacerExtremes: no rate makes timers spin, or stop for good.
func TestPacerExtremes(t *testing.T) {
	for _, rate := range []float64{math.SmallestNonzeroFloat64, 1e-9, 1, 1e15, math.MaxFloat64, math.Inf(1), math.NaN(), -1, 0} {
		l := newLab(t, Config[uint64]{})
		l.cc.window = 1 << 30
		l.send(1)
		l.advance(20 * ms)
		l.ack(0, 0)
		l.cc.rate = rate
		calls, sent := 0, 0
		for start := l.now; calls < 10_000 && sent < 1000 && l.now.Sub(start) < time.Hour; calls++ {
			ok, next := l.CanSend(l.now)
			switch {
			case ok:
				l.send(1)
				sent++
			case next.IsZero():
				t.Fatalf("rate %g: not told when to send", rate)
			case !next.After(l.now):
				t.Fatalf("rate %g: to be called at %v, now is %v", rate, next, l.now)
			case next.Sub(l.now) > MaxPTO:
				t.Fatalf("rate %g: asleep for %v", rate, next.Sub(l.now))
			default:
				l.now = next
			}
		}
		if calls == 10_000 {
			t.Errorf("rate %g: %d packets in %d calls", rate, sent, calls)
		}
	}
}

// TestTimeoutOfAnEarlierTime: a caller that is behind with what has arrived asks about a time up to which it is through.
func TestTimeoutOfAnEarlierTime(t *testing.T) {
	tr := New(Config[int]{})
	tr.Sent(epoch, 0, 1200, true, nil)
	due := tr.NextTimeout()
	tr.CanSend(due.Add(time.Second)) // which is later
	if tr.HandleTimeout(due.Add(-1)); tr.backoff != 0 {
		t.Error("a timeout was believed before its time was asked about")
	}
	if tr.HandleTimeout(due); tr.backoff != 1 {
		t.Errorf("%d timeouts at the time of one, want it", tr.backoff)
	}
}
