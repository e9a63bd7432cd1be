// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite golden files")

// A script writes down what hooks are told, a line for each event.
type script struct {
	bytes.Buffer
	quiet bool // only count
	lines int
	seen  []Metrics
}

func (s *script) line(at time.Time, format string, args ...any) {
	s.lines++
	if !s.quiet {
		fmt.Fprintf(s, "%8.3f ", float64(at.Sub(epoch))/float64(time.Millisecond))
		fmt.Fprintf(s, format+"\n", args...)
	}
}

func (r Ref) String() string {
	way := "out"
	if r.Incoming {
		way = "in"
	}
	if r.ID == NoID {
		return way + " -"
	}
	return fmt.Sprintf("%s %d", way, r.ID)
}

// trace returns hooks that write to s under the name of a side.
func (s *script) trace(side string) *Trace {
	return &Trace{
		PacketSent: func(e PacketSent) {
			s.line(e.Time, "%s packet sent %d: %d bytes, eliciting %v, %d in flight", side, e.Number, e.Size, e.AckEliciting, e.InFlight)
		},
		PacketsAcked: func(e PacketsAcked) {
			s.line(e.Time, "%s packets acked: %d, %d bytes, up to %d, rtt %v, %d in flight", side, e.Packets, e.Bytes, e.Largest, e.RTT, e.InFlight)
		},
		PacketLost: func(e PacketLost) {
			s.line(e.Time, "%s packet lost %d: %d bytes, %v old", side, e.Number, e.Size, e.Age)
		},
		SpuriousLoss: func(e SpuriousLoss) {
			s.line(e.Time, "%s spurious loss %d: %d bytes, %v old", side, e.Number, e.Size, e.Age)
		},
		MetricsUpdated: func(e Metrics) { s.seen = append(s.seen, e) },
		FlowOpened: func(e Opened) {
			s.line(e.Time, "%s flow opened %v: %q, priority %d, stream %v", side, e.Flow, e.Label, e.Priority, e.Stream)
		},
		FlowClosed: func(e Closed) { s.line(e.Time, "%s flow closed %v: %v", side, e.Flow, e.Err) },
		MessageSent: func(e MessageSent) {
			s.line(e.Time, "%s message sent %v #%d: %d bytes", side, e.Flow, e.Seq, e.Size)
		},
		MessageDelivered: func(e MessageDelivered) {
			s.line(e.Time, "%s message delivered %v #%d: %d bytes", side, e.Flow, e.Seq, e.Size)
		},
		MessageAbandoned: func(e MessageAbandoned) {
			s.line(e.Time, "%s message abandoned %v #%d: %d bytes, %v", side, e.Flow, e.Seq, e.Size, e.Reason)
		},
		MessageReceived: func(e MessageReceived) {
			s.line(e.Time, "%s message received %v #%d: %d bytes", side, e.Flow, e.Seq, e.Size)
		},
		Blocked: func(e Blocked) {
			s.line(e.Time, "%s blocked %v: session %v, limit %d", side, e.Flow, e.Session, e.Limit)
		},
	}
}

func (s *script) note(p *pair, what string) {
	fmt.Fprintf(s, "%8.3f # %s\n", float64(p.now.Sub(epoch))/1e6, what)
}

// TestTraceOfATransfer compares what hooks are told of a short session with testdata/trace.golden. After a change that is
// meant, rewrite it with -update and read the difference.
func TestTraceOfATransfer(t *testing.T) {
	var s script
	p := newPair(t, Config{Trace: s.trace("a"), Controller: NewReno}, Config{Trace: s.trace("b"), Controller: NewReno})
	s.note(p, "three messages, of which the second takes four packets and one of these is lost")
	dropped := false
	p.a.filter = func(pn uint64, _ []byte) bool {
		drop := pn == 2 && !dropped
		dropped = dropped || drop
		return drop
	}
	orders := p.open(p.a, "orders", &Options{Priority: Urgent})
	for i, n := range []int{100, 4000, 50} {
		p.send1(orders, pattern(n, byte(i)))
	}
	p.run(300 * time.Millisecond)

	s.note(p, "a message that is overtaken by a newer one, and one that is withdrawn")
	for n := range 2 {
		if _, err := orders.Send(over, pattern(10+n, 1), Supersede(1)); err != nil {
			t.Fatal(err)
		}
	}
	p.send1(orders, pattern(12, 1)).Abandon()
	p.run(300 * time.Millisecond)

	s.note(p, "a packet that is overtaken by five others")
	p.a.link.delay = 60 * time.Millisecond
	p.send1(orders, pattern(20, 2))
	p.flush(p.a)
	p.a.link.delay = 10 * time.Millisecond
	for i := range 5 {
		p.send1(orders, pattern(20+i, 2))
		p.flush(p.a)
	}
	p.run(300 * time.Millisecond)

	s.note(p, "an orderly end")
	if err := p.closeFlow(orders); err != nil {
		t.Fatal(err)
	}
	p.run(300 * time.Millisecond)

	s.note(p, "a flow of the other side that is rejected")
	unwanted := p.open(p.b, "unwanted", nil)
	p.send1(unwanted, pattern(30, 3))
	p.run(50 * time.Millisecond)
	p.send1(unwanted, pattern(30, 3))
	p.accept(p.a).Reject(7)
	p.run(300 * time.Millisecond)

	s.note(p, "the end of the session, with a message in flight and one whose flow has not begun")
	p.send1(p.open(p.a, "unfinished", nil), pattern(40, 4))
	p.flush(p.a)
	p.send1(p.open(p.a, "not begun", nil), pattern(40, 4))
	lines := s.lines
	p.a.m.Close(p.now, errTestOver)
	p.b.m.Close(p.now, errTestOver)
	if s.lines == lines {
		t.Error("nothing was told of what was abandoned at the end")
	}

	lines = s.lines
	p.a.m.HandleTimeout(p.now)
	p.a.m.Sent(p.now, p.a.pn, 100, true)
	p.a.m.Idle()
	orders.Abort(1)
	if err := p.a.m.HandleChunk(p.now, 0x10, []byte{0, 0, 1}); err != nil {
		t.Error(err)
	}
	if s.lines != lines {
		t.Errorf("%d events were told of after Close", s.lines-lines)
	}

	golden := filepath.Join("testdata", "trace.golden")
	if *update {
		if err := os.WriteFile(golden, s.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got := bytes.Split(s.Bytes(), []byte("\n"))
	for i, w := range bytes.Split(want, []byte("\n")) {
		if i >= len(got) || !bytes.Equal(got[i], w) {
			t.Errorf("line %d is\n%s\nwant\n%s", i+1, bytes.Join(got[min(i, len(got)):min(i+3, len(got))], []byte("\n")), w)
			break
		}
	}
	if len(s.Bytes()) > len(want) {
		t.Errorf("there are more lines than in %s", golden)
	}
}

// Whatever happens to packets and messages, what hooks are told adds up.
func TestTraceAddsUp(t *testing.T) {
	type message struct {
		side string
		flow Ref
		seq  uint64
	}
	var (
		sent, lost, spurious      = map[string]int{}, map[string]int{}, map[string]int{}
		begun, settled, received  = map[message]int{}, map[message]int{}, map[message]int{}
		opened, closed            = map[message]int{}, map[message]int{}
		delivered, abandoned, bad = map[string]int{}, map[string]int{}, 0
		told                      = map[string]Metrics{}
		now                       time.Time
	)
	hooks := func(side string) *Trace {
		in := func(at time.Time, f func()) {
			if at.Before(now) {
				bad++
			}
			now = at
			f()
		}
		return &Trace{
			PacketSent:   func(e PacketSent) { in(e.Time, func() { sent[side]++ }) },
			PacketsAcked: func(e PacketsAcked) { in(e.Time, func() {}) },
			PacketLost:   func(e PacketLost) { in(e.Time, func() { lost[side]++ }) },
			SpuriousLoss: func(e SpuriousLoss) { in(e.Time, func() { spurious[side]++ }) },
			MetricsUpdated: func(e Metrics) {
				in(e.Time, func() {
					e.Time = time.Time{}
					if e == told[side] {
						t.Errorf("metrics that have not changed are told of: %+v", e)
					}
					told[side] = e
				})
			},
			FlowOpened:  func(e Opened) { in(e.Time, func() { opened[message{side, e.Flow, 0}]++ }) },
			FlowClosed:  func(e Closed) { in(e.Time, func() { closed[message{side, e.Flow, 0}]++ }) },
			MessageSent: func(e MessageSent) { in(e.Time, func() { begun[message{side, e.Flow, e.Seq}]++ }) },
			MessageDelivered: func(e MessageDelivered) {
				in(e.Time, func() { settled[message{side, e.Flow, e.Seq}]++; delivered[side]++ })
			},
			MessageAbandoned: func(e MessageAbandoned) {
				in(e.Time, func() { settled[message{side, e.Flow, e.Seq}]++; abandoned[side]++ })
			},
			MessageReceived: func(e MessageReceived) {
				in(e.Time, func() { received[message{side, e.Flow, e.Seq}]++ })
			},
			Blocked: func(e Blocked) { in(e.Time, func() {}) },
		}
	}
	p := newPair(t, Config{Trace: hooks("a")}, Config{Trace: hooks("b"), RecvWindow: 64 << 10})
	p.eachLink(func(l *link) { l.loss, l.jitter, l.dup = 0.05, 15*time.Millisecond, 0.02 })
	queued := 0
	for i := range 40 {
		s := []*side{p.a, p.b}[i%2]
		f := p.open(s, fmt.Sprint(i), nil)
		for j := range 25 {
			opts := []SendOption{StartWithin(time.Duration(j) * time.Millisecond), FinishWithin(time.Duration(2*j) * time.Millisecond)}
			if _, err := f.TrySend(pattern(300*(j%9), byte(j)), opts[:j%3]...); err == nil {
				queued++
			}
		}
		switch i % 4 {
		case 0:
			_ = f.Close(over)
		case 1:
			p.run(5 * time.Millisecond)
			f.Abort(1)
		}
		p.run(20 * time.Millisecond)
		if r, err := s.peer.m.Accept(over); err == nil && i%3 == 0 {
			for {
				if _, err := r.Recv(over); err != nil {
					break
				}
			}
		}
	}
	p.run(time.Second)
	p.a.m.Close(p.now, errTestOver)
	p.b.m.Close(p.now, errTestOver)

	for name, s := range map[string]*side{"a": p.a, "b": p.b} {
		st := s.m.Stats()
		if uint64(sent[name]) != st.PacketsSent || uint64(lost[name]) != st.PacketsLost || uint64(spurious[name]) != st.PacketsSpurious {
			t.Errorf("%s: told of %d packets sent, %d lost, %d spuriously; stats say %d, %d, %d", name,
				sent[name], lost[name], spurious[name], st.PacketsSent, st.PacketsLost, st.PacketsSpurious)
		}
		if uint64(delivered[name]) != st.MessagesDelivered || uint64(abandoned[name]) != st.MessagesAbandoned {
			t.Errorf("%s: told of %d messages delivered and %d abandoned; stats say %d and %d", name,
				delivered[name], abandoned[name], st.MessagesDelivered, st.MessagesAbandoned)
		}
	}
	n := 0
	for m, k := range settled {
		n += k
		if k > 1 && m.flow.ID != NoID || begun[m] > 1 {
			t.Errorf("%+v was settled %d times and begun %d times", m, k, begun[m])
		}
	}
	if n != queued || bad > 0 || abandoned["a"] == 0 || lost["a"] == 0 {
		t.Errorf("%d of %d messages were settled, %d abandoned, %d packets lost; %d times went backwards", n, queued, abandoned["a"], lost["a"], bad)
	}
	for m, k := range received {
		if k != 1 {
			t.Errorf("%+v was received %d times", m, k)
		}
	}
	for m, k := range opened {
		if k != 1 || closed[m] != 1 {
			t.Errorf("%+v was opened %d times and closed %d times", m, k, closed[m])
		}
	}
	if len(opened) != len(closed) {
		t.Errorf("%d flows were opened and %d closed", len(opened), len(closed))
	}
}

// TestTraceAllocatesNothing compares what a message costs without a trace, with one of no hooks, and with all of them.
func TestTraceAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	measure := func(trace *Trace) float64 {
		p := newPipe()
		p.a, p.b = NewMux(&Config{Trace: trace}), NewMux(&Config{Trace: trace})
		s, err := p.a.Open("", nil)
		if err != nil {
			t.Fatal(err)
		}
		var r *Receiver
		msg := pattern(1000, 1)
		p.transfer(t, s, &r, msg, 4000)
		return testing.AllocsPerRun(20, func() { p.transfer(t, s, &r, msg, 1000) })
	}
	calls := 0
	all := &Trace{
		PacketSent: func(PacketSent) { calls++ }, PacketsAcked: func(PacketsAcked) { calls++ },
		PacketLost: func(PacketLost) { calls++ }, SpuriousLoss: func(SpuriousLoss) { calls++ },
		MetricsUpdated: func(Metrics) { calls++ }, FlowOpened: func(Opened) { calls++ }, FlowClosed: func(Closed) { calls++ },
		MessageSent: func(MessageSent) { calls++ }, MessageDelivered: func(MessageDelivered) { calls++ },
		MessageAbandoned: func(MessageAbandoned) { calls++ }, MessageReceived: func(MessageReceived) { calls++ },
		Blocked: func(Blocked) { calls++ },
	}
	without, empty, full := measure(nil), measure(&Trace{}), measure(all)
	// A few allocations of a thousand messages come and go with the garbage collector, which empties pools.
	const chance = 20
	if empty > without+chance || full > without+chance || calls < 4000 {
		t.Errorf("a thousand messages cost %v allocations without a trace, %v without hooks, %v with all (%d calls)",
			without, empty, full, calls)
	}
}
