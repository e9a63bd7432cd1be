// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"testing"
	"time"
)

// TestWindowAfterSilence: a window that was not used is halved for every second or probe timeout, down to the initial
// one, and earned again by what is delivered. RFC 8085 §3.1.1, RFC 2861 §3.
func TestWindowAfterSilence(t *testing.T) {
	grow := func() *lab {
		l := newLab(t, Config[uint64]{})
		for range 10 {
			n := max((l.Window()-l.InFlight())/1200, 1)
			l.send(n)
			l.HeldBack()
			l.advance(50 * ms)
			l.ack(0, l.pn-1)
		}
		if l.Window() < 500_000 {
			t.Fatalf("window of %d after ten round trips of slow start", l.Window())
		}
		return l
	}
	for _, test := range []struct {
		silence time.Duration
		want    func(w int) int
	}{
		{900 * ms, func(w int) int { return w }},
		{1100 * ms, func(w int) int { return w / 2 }},
		{2100 * ms, func(w int) int { return w / 4 }},
		{time.Minute, func(int) int { return 12_000 }},
	} {
		l := grow()
		full := l.Window()
		l.advance(test.silence - 50*ms) // since the last packet was sent
		for range 3 {                   // asking changes nothing
			l.CanSend(l.now)
		}
		want := test.want(full)
		if got := l.Window(); got != want {
			t.Errorf("window %d after %v, want %d of %d", got, test.silence, want, full)
			continue
		}
		for l.Window() < full {
			was := l.Window()
			l.send((was - l.InFlight()) / 1200)
			l.advance(50 * ms)
			l.ack(0, l.pn-1)
			if l.Window() <= was {
				t.Fatalf("window %d after a round trip at %d, want it to grow", l.Window(), was)
			}
		}
	}
}

// TestNotUsedNotGrown: RFC 9002 §7.8.
func TestNotUsedNotGrown(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	for range 20 {
		l.send(2)
		l.NothingToSend()
		l.advance(50 * ms)
		l.ack(0, l.pn-1)
	}
	for i, a := range l.cc.acks {
		if a.Limited {
			t.Fatalf("acknowledgement %d says that the window was the limit, with two packets in flight", i)
		}
	}
	l.send(10)
	l.HeldBack()
	l.advance(50 * ms)
	if l.ack(0, l.pn-1); !l.cc.acks[len(l.cc.acks)-1].Limited {
		t.Error("the window was full and the controller was not told")
	}
}
