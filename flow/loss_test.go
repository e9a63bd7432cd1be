// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A lossTest drives a lossState alone.
type lossTest struct {
	*lossState
	t     *testing.T
	now   time.Time
	pn    uint64
	acked []uint64
	lostN []uint64
}

func newLossTest(t *testing.T) *lossTest {
	lt := &lossTest{t: t, now: epoch, lossState: &lossState{largestAcked: -1, initialRTT: 333 * time.Millisecond}}
	lt.fate = func(pn uint64, _ *sentPacket, acked bool) {
		if acked {
			lt.acked = append(lt.acked, pn)
		} else {
			lt.lostN = append(lt.lostN, pn)
		}
	}
	lt.resetPath(NewReno(1200), 1200, 0)
	return lt
}

func (lt *lossTest) send(n int) {
	for range n {
		lt.packetSent(lt.now, lt.pn, 1200, true, nil)
		lt.pn++
	}
}

func (lt *lossTest) advance(d time.Duration) { lt.now = lt.now.Add(d) }

func (lt *lossTest) ack(ranges ...wire.AckRange) {
	lt.t.Helper()
	lt.acked, lt.lostN = nil, nil
	if err := lt.handleAck(lt.now, &wire.Ack{Ranges: ranges}); err != nil {
		lt.t.Fatal(err)
	}
}

// TestReorderingIsNotLoss acknowledges packets out of order up to the threshold.
func TestReorderingIsNotLoss(t *testing.T) {
	lt := newLossTest(t)
	lt.send(4)
	lt.advance(100 * time.Millisecond)
	lt.ack(wire.AckRange{Start: 1, End: 2})
	lt.ack(wire.AckRange{Start: 1, End: 3})
	if len(lt.lostN) > 0 {
		t.Fatalf("packet 0 declared lost after packets 1 and 2: reordering by 2 is within the threshold")
	}
	lt.ack(wire.AckRange{Start: 0, End: 3})
	if lt.lost != 0 || len(lt.acked) != 1 {
		t.Errorf("%d lost, %v acked, want none and packet 0", lt.lost, lt.acked)
	}
	cwnd := lt.cc.Window()
	lt.send(4)
	lt.advance(100 * time.Millisecond)
	lt.ack(wire.AckRange{Start: 7, End: 8})
	if len(lt.lostN) != 2 || lt.cc.Window() >= cwnd {
		t.Errorf("after 4 more, the last of which arrived: lost %v, window %d, want 3 and 4, and less than %d",
			lt.lostN, lt.cc.Window(), cwnd)
	}
}

func TestTimeThreshold(t *testing.T) {
	lt := newLossTest(t)
	lt.send(2)
	lt.advance(80 * time.Millisecond)
	lt.ack(wire.AckRange{Start: 1, End: 2})
	want := epoch.Add(90 * time.Millisecond)
	if at := lt.nextTimeout(); !at.Equal(want) {
		t.Fatalf("loss timer at %v, want 9/8 of the round trip: 90ms", at.Sub(epoch))
	}
	lt.now = want.Add(-time.Millisecond)
	lt.handleTimeout(lt.now)
	if len(lt.lostN) > 0 {
		t.Fatal("declared lost too early")
	}
	lt.now = want
	if probe := lt.handleTimeout(lt.now); probe || len(lt.lostN) != 1 || lt.inFlight != 0 {
		t.Errorf("at the loss timer: probe %v, lost %v, %d in flight, want packet 0 lost", probe, lt.lostN, lt.inFlight)
	}
}

func TestProbeTimeoutBacksOff(t *testing.T) {
	lt := newLossTest(t)
	lt.send(1)
	lt.advance(100 * time.Millisecond)
	lt.ack(wire.AckRange{Start: 0, End: 1})
	pto := 100*time.Millisecond + 4*50*time.Millisecond + wire.MaxAckDelay
	lt.send(1)
	for i := range 8 {
		want := min(pto<<i, maxPTO)
		at := lt.nextTimeout()
		if got := at.Sub(lt.lastSent); got != want {
			t.Fatalf("probe timeout %d after %v, want %v", i, got, want)
		}
		lt.now = at
		if !lt.handleTimeout(lt.now) {
			t.Fatalf("probe timeout %d granted no probe", i)
		}
		if ok, _ := lt.canSend(lt.now); !ok || lt.probes != probesPerPTO {
			t.Fatalf("probe timeout %d: can send %v, %d probes", i, ok, lt.probes)
		}
		lt.send(probesPerPTO)
	}
	lt.advance(100 * time.Millisecond)
	lt.ack(wire.AckRange{Start: lt.pn - 1, End: lt.pn})
	if lt.backoff != 0 {
		t.Errorf("back-off %d after an acknowledgement, want 0", lt.backoff)
	}
}

func TestPersistentCongestion(t *testing.T) {
	for _, test := range []struct {
		name  string
		gap   time.Duration
		ackIn bool // a packet in the middle arrives
		want  bool
	}{{"short", 100 * time.Millisecond, false, false}, {"long", time.Second, false, true}, {"interrupted", 400 * time.Millisecond, true, false}} {
		t.Run(test.name, func(t *testing.T) {
			lt := newLossTest(t)
			lt.send(1)
			lt.advance(100 * time.Millisecond)
			lt.ack(wire.AckRange{Start: 0, End: 1})
			for range 5 { // 1 to 5
				lt.send(1)
				lt.advance(test.gap)
			}
			if test.ackIn {
				lt.ack(wire.AckRange{Start: 3, End: 4})
			}
			lt.send(3) // 6 to 8
			lt.advance(100 * time.Millisecond)
			lt.ack(wire.AckRange{Start: 8, End: 9})
			if got := lt.cc.Window() == 2*1200; got != test.want {
				t.Errorf("window %d, lost %v; want persistent congestion %v", lt.cc.Window(), lt.lostN, test.want)
			}
		})
	}
}

func TestRTT(t *testing.T) {
	r := newRTT(333 * time.Millisecond)
	if pto := r.pto(0); pto != 333*time.Millisecond+4*166500*time.Microsecond {
		t.Errorf("initial probe timeout %v", pto)
	}
	r.update(epoch, 100*time.Millisecond, 25*time.Millisecond)
	if r.smoothed != 100*time.Millisecond || r.variation != 50*time.Millisecond || r.min != 100*time.Millisecond {
		t.Errorf("after the first sample: %+v", r)
	}
	// The delay is not subtracted where that would go below the minimum.
	r.update(epoch, 110*time.Millisecond, 25*time.Millisecond)
	if r.smoothed != (7*100+110)*time.Millisecond/8 {
		t.Errorf("smoothed %v, want the delay not subtracted", r.smoothed)
	}
	before := r.smoothed
	r.update(epoch, 125*time.Millisecond, 25*time.Millisecond)
	if want := (7*before + 100*time.Millisecond) / 8; r.smoothed != want {
		t.Errorf("smoothed %v, want %v: the delay subtracted", r.smoothed, want)
	}
}

func TestPacer(t *testing.T) {
	var p pacer
	now := epoch
	advance := func() { p.advance(now, 100_000, 1000, 100*time.Millisecond, false) } // 1.25 MB/s
	advance()
	n := 0
	for ; p.canSend(); n++ {
		p.sent(1000)
	}
	if n != 10 {
		t.Errorf("burst of %d packets, want 10", n)
	}
	start := now
	for range 1000 {
		for !p.canSend() {
			next := p.next()
			if !next.After(now) {
				t.Fatal("the pacer waits for the past")
			}
			now = next
			advance()
		}
		p.sent(1000)
	}
	if rate := 1_000_000 / now.Sub(start).Seconds(); rate < 1.2e6 || rate > 1.3e6 {
		t.Errorf("paced at %.0f B/s, want 1.25 times the window per round trip: 1250000", rate)
	}
}

// TestTailLoss loses the last packet, which nothing follows that could reveal the loss.
func TestTailLoss(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, []byte("first"))
	r := p.accept(p.b)
	p.recv(r)
	p.run(time.Second)
	start := p.now
	lose := true
	p.a.filter = func(uint64, []byte) bool { was := lose; lose = false; return was }
	p.send1(f, []byte("last"))
	p.recv(r)
	if d := p.now.Sub(start); d > 200*time.Millisecond {
		t.Errorf("a lost last packet arrived after %v, want a probe after about 3 round trips of 20ms", d)
	}
}

// TestOutage cuts the path for 30 s; everything resumes.
func TestOutage(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(900_000, 1))
	r := p.accept(p.b)
	p.run(100 * time.Millisecond)
	p.eachLink(func(l *link) { l.loss = 1 })
	p.run(time.Second) // what the window still allows
	sent := p.a.sent
	p.run(30 * time.Second)
	if n := p.a.sent - sent; n > 30 {
		t.Errorf("%d packets sent into an outage of 30 s, want few", n)
	}
	p.eachLink(func(l *link) { l.loss = 0 })
	start := p.now
	p.recv(r)
	if d := p.now.Sub(start); d > maxPTO+time.Second {
		t.Errorf("resumed after %v, want within the longest back-off", d)
	}
}

// TestResetPath changes the path in an outage; the transfer resumes at once.
func TestResetPath(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(900_000, 1))
	r := p.accept(p.b)
	p.run(100 * time.Millisecond)
	p.eachLink(func(l *link) { l.loss = 1 })
	p.run(20 * time.Second)
	p.eachLink(func(l *link) { l.loss = 0 })
	p.a.m.ResetPath(p.now, PathInfo{})
	p.b.m.ResetPath(p.now, PathInfo{})
	if s, m := p.a.m.RTT(); m != 0 || s != 333*time.Millisecond {
		t.Errorf("round-trip time %v, least %v, after a change of path, want none", s, m)
	}
	start := p.now
	received := p.b.m.Stats().BytesReceived
	p.run(45 * time.Millisecond)
	if held := p.b.m.recvUsed; held == received {
		t.Error("nothing arrived within two round trips")
	}
	p.recv(r)
	if d := p.now.Sub(start); d > 2*time.Second {
		t.Errorf("900 kB took %v on the new path", d)
	}
}

// TestAckTiming checks when acknowledgements are sent.
func TestAckTiming(t *testing.T) {
	type event struct {
		at    time.Duration
		pn    uint64
		quiet bool // not ack-eliciting
	}
	for _, test := range []struct {
		name   string
		events []event
		want   time.Duration // when an acknowledgement is due after the last event
	}{
		{"one packet waits", []event{{0, 0, false}}, 25 * time.Millisecond},
		{"the second does not", []event{{0, 0, false}, {3 * time.Millisecond, 1, false}}, 3 * time.Millisecond},
		{"gap", []event{{0, 1, false}}, 0},
		{"late packet", []event{{0, 0, true}, {0, 2, true}, {5 * time.Millisecond, 1, false}}, 5 * time.Millisecond},
		{"nothing asks", []event{{0, 0, true}, {0, 5, true}}, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := ackState{largest: -1}
			for _, e := range test.events {
				a.received(epoch.Add(e.at), e.pn, !e.quiet, wire.NotECT)
			}
			got := time.Duration(-1)
			if !a.due.IsZero() {
				got = a.due.Sub(epoch)
			}
			if got != test.want {
				t.Errorf("due after %v, want %v", got, test.want)
			}
		})
	}
}

// TestAckFrequency checks that bulk data is acknowledged once per two packets.
func TestAckFrequency(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.rate, l.queue = 1e6, 1e6 }) // so that packets do not arrive together
	f := p.open(p.a, "", nil)
	p.send1(f, pattern(1_000_000, 1))
	p.recv(p.accept(p.b))
	if ratio := float64(p.b.sent) / float64(p.a.sent); ratio < 0.45 || ratio > 0.6 {
		t.Errorf("%d packets answered with %d, want half as many", p.a.sent, p.b.sent)
	}
}
