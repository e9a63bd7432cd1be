// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestLargePackets: the transfer finds out what the path carries, and goes on when it carries less.
func TestLargePackets(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.a.mtu, p.a.link.mtu = true, 1452
	p.a.m.ResetPath(p.now, PathInfo{MaxPacket: 1472})
	f := p.open(p.a, "", &Options{SendBuffer: 8 << 20})
	r := (*Receiver)(nil)
	transfer := func() {
		t.Helper()
		p.send1(f, pattern(2_000_000, 1))
		if r == nil {
			r = p.accept(p.b)
		}
		p.recv(r)
		p.run(time.Second)
	}
	transfer()
	if s := p.a.m.Stats(); s.MaxPacket != 1452 || s.ProbesSent == 0 || int(s.PacketsLost) > p.a.link.drops {
		t.Errorf("packets of %d after %d probes, %d lost; want 1452", s.MaxPacket, s.ProbesSent, s.PacketsLost)
	}
	p.a.link.mtu = 1300 // as when traffic moves into a tunnel, and nobody says so
	start := p.now
	transfer()
	if s := p.a.m.Stats(); s.MaxPacket != 1280 {
		t.Errorf("packets of %d, want 1280 after larger ones have vanished", s.MaxPacket)
	}
	if d := p.now.Sub(start); d > 6*time.Second {
		t.Errorf("2 MB took %v with a path that stopped carrying large packets", d)
	}
	n := p.a.m.Stats().ProbesSent
	p.run(20 * time.Minute)
	if more := p.a.m.Stats().ProbesSent - n; more > 0 {
		t.Errorf("%d probes in twenty minutes of silence", more)
	}
}

// TestMarks: ECN is used on paths that keep marks, and not on others; a mark slows the sender down like a loss.
func TestMarks(t *testing.T) {
	for _, test := range []struct {
		name string
		ecn  func(wire.ECN) wire.ECN
		want string
	}{
		{"erased", nil, "failed"},
		{"kept", func(e wire.ECN) wire.ECN { return e }, "capable"},
		{"changed", func(wire.ECN) wire.ECN { return wire.ECT1 }, "failed"},
	} {
		p := newPair(t, Config{}, Config{})
		p.eachLink(func(l *link) { l.ecn = test.ecn })
		f := p.open(p.a, "", nil)
		p.send1(f, pattern(200_000, 1))
		p.recv(p.accept(p.b))
		p.run(time.Second)
		if s := p.a.m.Stats(); s.ECN != test.want || s.PacketsMarked != 0 {
			t.Errorf("marks %s: ECN %s, %d marked; want %s and none", test.name, s.ECN, s.PacketsMarked, test.want)
		}
	}

	p := newPair(t, Config{}, Config{})
	sent := 0
	p.a.link.ecn = func(e wire.ECN) wire.ECN {
		if sent++; e == wire.ECT0 && sent%100 == 0 {
			return wire.CE
		}
		return e
	}
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(1_000_000, 1))
	p.recv(p.accept(p.b))
	p.run(time.Second)
	if s := p.a.m.Stats(); s.PacketsMarked < 5 || s.PacketsLost != 0 || s.CongestionWindow > 200_000 {
		t.Errorf("%d marked, %d lost, window %d; want marks to hold the window down without a loss", s.PacketsMarked, s.PacketsLost, s.CongestionWindow)
	}
}

// TestReorderedPath: on a path that reorders a lot but loses nothing, what was thought lost is recognised, and soon
// hardly anything is sent twice, whatever the window does.
func TestReorderedPath(t *testing.T) {
	for name, controller := range map[string]func(int) Controller{
		"newreno": congestion.NewReno, "cubic": congestion.NewCUBIC, "weir": congestion.NewWeir,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, Config{Controller: controller}, Config{})
			p.a.link.jitter = 12 * time.Millisecond
			f := p.open(p.a, "", &Options{SendBuffer: 16 << 20})
			var r *Receiver
			transfer := func() (lost, spurious uint64) {
				before := p.a.m.Stats()
				p.send1(f, pattern(2_000_000, 1))
				if r == nil {
					r = p.accept(p.b)
				}
				p.recv(r)
				p.run(time.Second)
				after := p.a.m.Stats()
				return after.PacketsLost - before.PacketsLost, after.PacketsSpurious - before.PacketsSpurious
			}
			first, spurious := transfer()
			if first == 0 || spurious != first {
				t.Errorf("%d of %d losses found spurious, want some and all", spurious, first)
			}
			if second, _ := transfer(); second > first/2 {
				t.Errorf("%d losses of the second transfer, %d of the first; want the thresholds to have adapted", second, first)
			}
		})
	}
}

// TestLoneMessageIsAcknowledgedSoon: not after the longest delay, on a path whose round trip is short.
func TestLoneMessageIsAcknowledgedSoon(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.delay = 500 * time.Microsecond })
	f := p.open(p.a, "", nil)
	p.send1(f, []byte("first"))
	p.recv(p.accept(p.b))
	p.run(time.Second)
	start := p.now
	receipt := p.send1(f, []byte("lone"))
	p.until(time.Second, "the receipt is resolved", func() bool { return receipt.Outcome() == Delivered })
	if d := p.now.Sub(start); d > 3*time.Millisecond {
		t.Errorf("known to be delivered after %v, want the round trip of 1 ms and a millisecond of delay", d)
	}
}

// A demandSpy remembers what kind of data it was told of.
type demandSpy struct {
	Controller
	demands []congestion.Demand
}

func (s *demandSpy) SetDemand(_ time.Time, d congestion.Demand) { s.demands = append(s.demands, d) }

// TestDemand: the controller hears of urgent data and of the peer's wish that we yield, and of the end of both.
func TestDemand(t *testing.T) {
	spy := &demandSpy{}
	p := newPair(t, Config{Controller: func(n int) Controller { spy.Controller = NewReno(n); return spy }}, Config{})
	bulk := p.open(p.a, "bulk", &Options{Priority: Bulk})
	p.send1(bulk, []byte("x"))
	p.run(time.Second)
	p.a.m.SetYield(p.now.Add(timeCritical))
	p.run(500 * time.Millisecond)
	urgent := p.open(p.a, "urgent", &Options{Priority: Urgent})
	p.send1(urgent, []byte("x"))
	p.run(0)
	if sent, _ := p.a.m.TimeCritical(); !sent.Equal(p.now) {
		t.Errorf("time-critical data sent at %v, want now, %v", sent, p.now)
	}
	p.run(time.Second)
	p.send1(bulk, []byte("x"))
	p.run(time.Second)
	want := []congestion.Demand{{Yield: true}, {TimeCritical: true, Yield: true}, {}}
	got := slices.DeleteFunc(slices.Clone(spy.demands), func(d congestion.Demand) bool { return d == congestion.Demand{TimeCritical: true} })
	if !slices.Equal(got, want) {
		t.Errorf("demands %+v, want %+v", spy.demands, want)
	}
}

// TestLoneMessagesShowNoQueue: the peer waits before it acknowledges a lone packet, and says for how long. That is neither
// taken for a queue, which would cost the window, nor for a longer round trip, however long it goes on.
func TestLoneMessagesShowNoQueue(t *testing.T) {
	for _, oneWay := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond} {
		p := newPair(t, Config{}, Config{})
		p.eachLink(func(l *link) { l.delay = oneWay })
		f := p.open(p.a, "", nil)
		p.send1(f, []byte("lone"))
		r := p.accept(p.b)
		window := p.a.m.Stats().CongestionWindow
		for range 600 {
			p.send1(f, []byte("lone"))
			p.recv(r)
			p.run(3*oneWay + 50*time.Millisecond)
		}
		s := p.a.m.Stats()
		if s.CongestionWindow < window || s.QueueDelay > 0 || s.RTT > 2*oneWay+2*time.Millisecond {
			t.Errorf("round trips of %v without load: window %d, was %d; queue of %v; round trip of %v", 2*oneWay,
				s.CongestionWindow, window, s.QueueDelay, s.RTT)
		}
	}
}
