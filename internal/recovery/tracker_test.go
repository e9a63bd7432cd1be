// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// A spy is NewReno that remembers what it was told.
type spy struct {
	congestion.Controller
	acks     []congestion.Ack
	losses   []congestion.Loss
	spurious []time.Time
	bad      int
	demands  []congestion.Demand
	packet   int
	rate     float64
	window   int // instead of NewReno's, if not zero
}

func (s *spy) Window() int {
	if s.window > 0 {
		return s.window
	}
	return s.Controller.Window()
}

func (s *spy) HandleAck(now time.Time, a *congestion.Ack) {
	s.acks = append(s.acks, *a)
	s.Controller.HandleAck(now, a)
}

func (s *spy) HandleLoss(now time.Time, l *congestion.Loss) {
	s.losses = append(s.losses, *l)
	s.Controller.HandleLoss(now, l)
}

func (s *spy) HandleSpurious(now, sentAt time.Time) {
	s.spurious = append(s.spurious, sentAt)
	s.Controller.HandleSpurious(now, sentAt)
}

func (s *spy) HandlePersistentCongestion(now time.Time) {
	s.bad++
	s.Controller.HandlePersistentCongestion(now)
}
func (s *spy) SetDemand(_ time.Time, d congestion.Demand) { s.demands = append(s.demands, d) }
func (s *spy) SetMaxPacket(n int)                         { s.packet = n; s.Controller.SetMaxPacket(n) }
func (s *spy) PacingRate() float64                        { return s.rate }

// A lab drives a tracker alone. Its items are the numbers of the packets they are in.
type lab struct {
	*Tracker[uint64]
	t        *testing.T
	now      time.Time
	pn       uint64
	cc       *spy
	acked    []uint64
	lost     []uint64
	repeated []uint64
	settled  []uint64 // lost after having been repeated
}

func newLab(t *testing.T, c Config[uint64]) *lab {
	l := &lab{t: t, now: epoch}
	c.Fate = func(pn uint64, items []uint64, fate Fate) {
		if len(items) != 1 || items[0] != pn {
			t.Fatalf("packet %d has items %v, want its own number", pn, items)
		}
		to := [...]*[]uint64{Acked: &l.acked, Lost: &l.lost, Repeat: &l.repeated, LostRepeated: &l.settled}[fate]
		*to = append(*to, pn)
	}
	c.Controller = func(n int) congestion.Controller {
		l.cc = &spy{Controller: congestion.NewReno(n)}
		return l.cc
	}
	l.Tracker = New(c)
	return l
}

func (l *lab) send(n int) { l.sendSize(n, 1200) }

func (l *lab) sendSize(n, size int) {
	for range n {
		l.Sent(l.now, l.pn, size, true, []uint64{l.pn})
		l.pn++
	}
}

func (l *lab) advance(d time.Duration) { l.now = l.now.Add(d) }

// ack acknowledges ranges given as first and last, newest range first.
func (l *lab) ack(firstLast ...uint64) {
	l.t.Helper()
	l.ackECN(nil, firstLast...)
}

func (l *lab) ackECN(counts *wire.ECNCounts, firstLast ...uint64) {
	l.t.Helper()
	l.acked, l.lost, l.repeated, l.settled = nil, nil, nil, nil
	a := &wire.Ack{}
	if counts != nil {
		a.HasECN, a.ECN = true, *counts
	}
	for i := 0; i < len(firstLast); i += 2 {
		a.Ranges = append(a.Ranges, wire.AckRange{Start: firstLast[i], End: firstLast[i+1] + 1})
	}
	if err := l.HandleAck(l.now, a); err != nil {
		l.t.Fatal(err)
	}
}

// TestReorderingIsNotLoss acknowledges packets out of order up to the threshold. RFC 9002 §6.1.1.
func TestReorderingIsNotLoss(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(4)
	l.advance(100 * ms)
	l.ack(1, 1)
	l.ack(1, 2)
	if len(l.lost) > 0 {
		t.Fatalf("packet 0 declared lost after packets 1 and 2: reordering by 2 is within the threshold")
	}
	l.ack(0, 2)
	if l.stats.Lost != 0 || len(l.acked) != 1 {
		t.Errorf("%d lost, %v acked, want none and packet 0", l.stats.Lost, l.acked)
	}
	cwnd := l.Window()
	l.send(4)
	l.advance(100 * ms)
	l.ack(7, 7)
	if len(l.lost) != 2 || l.Window() >= cwnd {
		t.Errorf("after 4 more, the last of which arrived: lost %v, window %d, want 3 and 4, and less than %d",
			l.lost, l.Window(), cwnd)
	}
	if len(l.cc.losses) != 1 || l.cc.losses[0].Packets != 2 || l.cc.losses[0].Bytes != 2400 || l.cc.losses[0].Largest != 4 {
		t.Errorf("controller told %+v, want one loss of two packets", l.cc.losses)
	}
}

// RFC 9002 §6.1.2.
func TestTimeThreshold(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(2)
	l.advance(80 * ms)
	l.ack(1, 1)
	want := epoch.Add(90 * ms)
	if at := l.NextTimeout(); !at.Equal(want) {
		t.Fatalf("loss timer at %v, want 9/8 of the round trip: 90ms", at.Sub(epoch))
	}
	l.now = want.Add(-ms)
	l.HandleTimeout(l.now)
	if len(l.lost) > 0 {
		t.Fatal("declared lost too early")
	}
	l.now = want
	if l.HandleTimeout(l.now); l.Probing() || len(l.lost) != 1 || l.InFlight() != 0 {
		t.Errorf("at the loss timer: probing %v, lost %v, %d in flight, want packet 0 lost", l.Probing(), l.lost, l.InFlight())
	}
}

// RFC 9002 §6.2.1, §6.2.4.
func TestProbeTimeoutBacksOff(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(1)
	l.advance(100 * ms)
	l.ack(0, 0)
	pto := 100*ms + 4*50*ms + wire.MaxAckDelay
	l.send(1)
	sent := l.now
	for i := range 8 {
		want := min(pto<<i, MaxPTO)
		at := l.NextTimeout()
		if got := at.Sub(sent); got != want {
			t.Fatalf("probe timeout %d after %v, want %v", i, got, want)
		}
		l.now = at
		l.HandleTimeout(l.now)
		if ok, _ := l.CanSend(l.now); !ok || l.probes != probesPerPTO || l.backoff != i+1 {
			t.Fatalf("probe timeout %d: can send %v, %d probes, back-off %d", i, ok, l.probes, l.backoff)
		}
		l.send(probesPerPTO)
		sent = l.now
	}
	if !slices.Equal(l.repeated, slices.Compact(slices.Clone(l.repeated))) || l.repeated[0] != 1 {
		t.Errorf("packets repeated: %v, want each once, from the oldest on", l.repeated)
	}
	l.advance(100 * ms)
	l.ack(l.pn-1, l.pn-1)
	if l.backoff != 0 {
		t.Errorf("back-off %d after an acknowledgement, want 0", l.backoff)
	}
	if slices.Contains(l.lost, 1) || !slices.Contains(l.settled, 1) {
		t.Errorf("packet 1, which was repeated: lost %v, settled %v; want it reported as lost and repeated", l.lost, l.settled)
	}
}

// RFC 9002 §7.6.
func TestPersistentCongestion(t *testing.T) {
	for _, test := range []struct {
		name  string
		gap   time.Duration
		ackIn bool // a packet in the middle arrives
		want  int
	}{
		{"short", 100 * ms, false, 0},
		{"long", time.Second, false, 1},
		{"interrupted", 400 * ms, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, Config[uint64]{})
			l.send(1)
			l.advance(100 * ms)
			l.ack(0, 0)
			for range 5 { // 1 to 5
				l.send(1)
				l.advance(test.gap)
			}
			if test.ackIn {
				l.ack(3, 3)
			}
			l.send(3) // 6 to 8
			l.advance(100 * ms)
			l.ack(8, 8)
			if l.cc.bad != test.want {
				t.Errorf("persistent congestion found %d times, window %d, lost %v; want %d", l.cc.bad, l.Window(), l.lost, test.want)
			}
		})
	}
}

// TestPersistentCongestionIgnoresGaps: numbers used by packets that ask for nothing do not interrupt the run.
func TestPersistentCongestionIgnoresGaps(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(1)
	l.advance(100 * ms)
	l.ack(0, 0)
	for range 5 {
		l.send(1)
		l.Sent(l.now, l.pn, 40, false, nil)
		l.pn++
		l.advance(time.Second)
	}
	l.send(1)
	l.advance(100 * ms)
	l.ack(l.pn-1, l.pn-1)
	if l.cc.bad != 1 {
		t.Errorf("persistent congestion found %d times, lost %v; want once", l.cc.bad, l.lost)
	}
}

func TestAckOfUnsent(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(2)
	err := l.HandleAck(l.now, &wire.Ack{Ranges: []wire.AckRange{{Start: 0, End: 3}}})
	if pe, ok := err.(*wire.ProtocolError); !ok || pe.Code != wire.CodeAck {
		t.Errorf("ack of packet 2, which was not sent: %v, want a protocol error (RFC 9000 §13.1)", err)
	}
}

// TestResetPath: what was sent before counts neither as in flight nor as a round trip nor as congestion, but its fate is
// told. RFC 9000 §9.4.
func TestResetPath(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(10)
	l.advance(50 * ms)
	l.ack(0, 0)
	l.ResetPath(l.now, Info{RTT: 30 * ms})
	if s, least := l.RTT(); l.InFlight() != 0 || s != 30*ms || least != 0 || !l.Probing() || !slices.Equal(l.repeated, []uint64{1, 2}) {
		t.Fatalf("%d in flight, RTT %v, least %v, probing %v, repeated %v", l.InFlight(), s, least, l.Probing(), l.repeated)
	}
	l.send(4) // 10 to 13
	l.advance(30 * ms)
	l.ack(13, 13, 1, 3)
	if len(l.cc.losses) != 1 || l.cc.losses[0].Bytes != 1200 {
		t.Errorf("controller told of %+v, want one packet: 10, the only one of this path behind the threshold", l.cc.losses)
	}
	if a := l.cc.acks[0]; a.Bytes != 1200 || a.PriorInFlight != 4800 {
		t.Errorf("controller told of %d bytes, %d in flight before; want only those of this path", a.Bytes, a.PriorInFlight)
	}
	if !slices.Equal(l.lost, []uint64{4, 5, 6, 7, 8, 9, 10}) || l.InFlight() != 2*1200 {
		t.Errorf("lost %v, %d in flight; want 4 to 10 lost, 11 and 12 in flight", l.lost, l.InFlight())
	}
}

// TestTrackedIsBounded: a peer that never acknowledges is forgotten from the oldest packet on.
func TestTrackedIsBounded(t *testing.T) {
	n := 0
	tr := New(Config[int]{Fate: func(uint64, []int, Fate) { n++ }})
	for pn := range uint64(MaxTracked + 100) {
		tr.Sent(epoch, pn, 100, true, []int{1})
	}
	if tr.Tracked() > MaxTracked || n != 100 || tr.Outstanding() != MaxTracked || tr.InFlight() != MaxTracked*100 {
		t.Errorf("%d tracked, %d of %d outstanding, %d in flight; want at most %d and the rest lost", tr.Tracked(), n,
			tr.Outstanding(), tr.InFlight(), MaxTracked)
	}
	tr.Sent(epoch, 1<<40, 100, true, []int{1})
	if tr.Tracked() != MaxTracked || tr.Outstanding() != MaxTracked || n != 101 {
		t.Errorf("after a leap in numbers: %d tracked, %d outstanding, %d lost; want one more lost", tr.Tracked(), tr.Outstanding(), n)
	}
}

// TestQuietPacketsAreForgotten: acknowledgements that nobody acknowledges take up no memory.
func TestQuietPacketsAreForgotten(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	for range 1000 {
		l.Sent(l.now, l.pn, 40, false, []uint64{l.pn})
		l.pn++
	}
	if l.Tracked() != 0 || l.Outstanding() != 0 || !l.NextTimeout().IsZero() {
		t.Errorf("%d tracked, %d outstanding, timeout %v; want none", l.Tracked(), l.Outstanding(), l.NextTimeout())
	}
	l.send(1)
	l.Sent(l.now, l.pn, 40, false, []uint64{l.pn})
	l.pn++
	l.ack(l.pn-2, l.pn-1)
	if !slices.Equal(l.acked, []uint64{l.pn - 1, l.pn - 2}) {
		t.Errorf("acked %v, want the packet and the acknowledgement after it", l.acked)
	}
}

// ackOf is an acknowledgement that grows a window in slow start.
func ackOf(bytes int) *congestion.Ack {
	return &congestion.Ack{Bytes: bytes, Packets: 1, Limited: true}
}

// Window returns how many bytes may be in flight.
func (t *Tracker[T]) Window() int { return t.path.window(t.now) }
