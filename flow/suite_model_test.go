// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A promise is what is known of a message that was sent, and so what may and must become of it.
type promise struct {
	f             *modelledFlow
	seq           uint64
	content       []byte
	receipt       *Receipt
	start, finish time.Time // deadlines; zero: none
	transmits     int
	parents       []*promise
	key           uint64
	hasKey        bool
	withdrawn     bool

	begun    bool
	times    []uint8 // each byte was sent, if that matters
	settled  bool
	received bool
}

// reliable reports whether nothing but the end of the flow may keep the message from arriving.
func (m *promise) reliable() bool {
	return m.start.IsZero() && m.finish.IsZero() && m.transmits == 0 && len(m.parents) == 0 && !m.hasKey && !m.withdrawn
}

// A modelledFlow is a flow and what was done with it.
type modelledFlow struct {
	from     *side
	s        *Sender
	r        *Receiver
	id       uint64
	hasID    bool
	o        Options
	returns  int
	parent   *modelledFlow // which it answers
	msgs     []*promise    // by number
	disorder bool          // the receiver may hand messages over in any order
	latest   bool          // but not older ones after newer ones now
	outdates bool          // the receiver may drop messages
	last     int64         // number handed over last; -1: none
	moved    bool          // to another priority
	closed   bool
	aborted  bool
	refuses  bool // answers
	rejected bool
	end      error
}

// A modelled session does random things to two muxes and knows what may come of it.
type modelled struct {
	t       *testing.T
	p       *pair
	pick    func(int) int
	flows   []*modelledFlow
	byLabel map[string]*modelledFlow
	byID    [2]map[uint64]*modelledFlow
	pending []*promise
	all     []*promise
	bytes   int
}

func newModelled(t *testing.T, p *pair, pick func(int) int) *modelled {
	m := &modelled{t: t, p: p, pick: pick, byLabel: make(map[string]*modelledFlow)}
	for i, s := range []*side{p.a, p.b} {
		m.byID[i] = make(map[uint64]*modelledFlow)
		s.filter = func(_ uint64, payload []byte) bool {
			m.watch(i, payload)
			return false
		}
	}
	return m
}

func (m *modelled) chance(n int) bool { return m.pick(n) == 0 }

func (m *modelled) ms(n int) time.Duration { return time.Duration(m.pick(n)) * ms }

// watch checks what a packet says of messages when it is sent.
func (m *modelled) watch(from int, payload []byte) {
	eachOpen(m.t, payload, func(o *wire.FlowOpen) {
		if f := m.byLabel[string(o.Label)]; f != nil {
			if f.hasID && f.id != o.Flow {
				m.t.Errorf("flow %s has numbers %d and %d", o.Label, f.id, o.Flow)
			}
			f.hasID, f.id = true, o.Flow
			m.byID[from][o.Flow] = f
		}
	})
	eachData(m.t, payload, func(d *wire.FlowData) {
		f := m.byID[from][d.Flow]
		if f == nil || d.Seq >= uint64(len(f.msgs)) {
			m.t.Fatalf("message %d of flow %d is sent, which nobody sent", d.Seq, d.Flow)
		}
		x, end := f.msgs[d.Seq], d.Offset+uint64(len(d.Data))
		if end > uint64(len(x.content)) || !bytes.Equal(d.Data, x.content[d.Offset:end]) || d.End && end != uint64(len(x.content)) {
			m.t.Fatalf("flow %s, message %d: other bytes are sent than were given, at %d", f.s.Label(), d.Seq, d.Offset)
		}
		if o := x.receipt.Outcome(); o != Pending {
			m.t.Errorf("flow %s, message %d is sent though it is %v (%v)", f.s.Label(), d.Seq, o, x.receipt.Reason())
		}
		if !x.begun && !x.start.IsZero() && !m.p.now.Before(x.start) || !x.finish.IsZero() && !m.p.now.Before(x.finish) {
			m.t.Errorf("flow %s, message %d is sent %v after StartWithin, %v after FinishWithin", f.s.Label(), d.Seq,
				m.p.now.Sub(x.start), m.p.now.Sub(x.finish))
		}
		x.begun = true
		if x.transmits > 0 {
			for i := d.Offset; i < end; i++ {
				if x.times[i]++; int(x.times[i]) > x.transmits {
					m.t.Fatalf("flow %s, message %d: byte %d is sent for the %dth time, of %d", f.s.Label(), d.Seq, i,
						x.times[i], x.transmits)
				}
			}
		}
	})
}

// open opens a flow, which may answer another.
func (m *modelled) open(n int) {
	f := &modelledFlow{from: []*side{m.p.a, m.p.b}[m.pick(2)], last: -1}
	f.o = Options{
		Priority: Priority(m.pick(8) - 3), Weight: m.pick(4), Ordering: Ordering(m.pick(2)), SendBuffer: 1000 << m.pick(8),
		Returns: m.pick(2), Metadata: pattern(m.pick(40), byte(n)),
	}
	if m.chance(4) {
		f.o.StartWithin, f.o.FinishWithin, f.o.Transmits = m.ms(200), m.ms(400), m.pick(4)
	}
	if m.chance(3) {
		for _, other := range m.flows {
			if other.r != nil && other.from != f.from && other.o.Returns > other.returns {
				f.o.Answers, f.parent = other.r, other
				other.returns++
				break
			}
		}
	}
	f.disorder = f.o.Ordering == Arrival
	label := fmt.Sprintf("%d", n)
	f.s = m.p.open(f.from, label, &f.o)
	m.flows = append(m.flows, f)
	m.byLabel[label] = f
}

// send sends a message on random terms.
func (m *modelled) send(f *modelledFlow) {
	size := []int{0, 1, 20, 300, 1100, 1200, 5000, 40_000}[m.pick(8)]
	if m.bytes > 1_000_000 {
		size = min(size, 300)
	}
	x := &promise{f: f, seq: uint64(len(f.msgs)), content: pattern(size, byte(len(m.all)))}
	var opts []SendOption
	start, finish := f.o.StartWithin, f.o.FinishWithin
	x.transmits = f.o.Transmits
	if m.chance(5) {
		start = m.ms(150) - 10*ms
		opts = append(opts, StartWithin(start))
	}
	if m.chance(5) {
		finish = m.ms(300) - 10*ms
		opts = append(opts, FinishWithin(finish))
	}
	if m.chance(6) {
		x.transmits = m.pick(4)
		opts = append(opts, Transmits(x.transmits))
	}
	for m.chance(5) && len(m.all) > 0 && len(x.parents) < 4 {
		parent := m.all[len(m.all)-1-m.pick(min(len(m.all), 8))]
		if parent.f.from != f.from {
			break
		}
		opts = append(opts, After(parent.receipt))
		x.parents = append(x.parents, parent)
	}
	if m.chance(8) {
		x.hasKey, x.key = true, uint64(m.pick(3))
		opts = append(opts, Supersede(x.key))
	}
	if start > 0 {
		x.start = m.p.now.Add(start)
	}
	if finish > 0 {
		x.finish = m.p.now.Add(finish)
	}
	if x.transmits > 0 {
		x.times = make([]uint8, size)
	}
	var err error
	x.receipt, err = f.s.TrySend(x.content, opts...)
	switch rejected := (*RejectedError)(nil); {
	case errors.Is(err, ErrWouldBlock):
		return
	case errors.Is(err, ErrClosed) && (f.closed || f.aborted), errors.As(err, &rejected) && f.mayBeRejected():
		return
	case err != nil:
		m.t.Fatalf("flow %s: TrySend: %v; closed %v, aborted %v, rejected %v", f.s.Label(), err, f.closed, f.aborted, f.rejected)
	}
	if x.receipt.Seq() != x.seq {
		m.t.Fatalf("flow %s: the receipt of message %d is that of %d", f.s.Label(), x.seq, x.receipt.Seq())
	}
	f.msgs = append(f.msgs, x)
	m.all = append(m.all, x)
	m.pending = append(m.pending, x)
	m.bytes += size
}

// mayBeRejected reports whether the receiver has rejected the flow, or it answers one that takes answers no more.
func (f *modelledFlow) mayBeRejected() bool { return f.rejected || f.parent != nil && f.parent.refuses }

// poll checks receipts that have been resolved, and that those are whose time has come.
func (m *modelled) poll() {
	keep := m.pending[:0]
	for _, x := range m.pending {
		name := fmt.Sprintf("flow %s, message %d of %d bytes", x.f.s.Label(), x.seq, len(x.content))
		if x.receipt.Outcome() == Pending {
			if !x.finish.IsZero() && m.p.now.After(x.finish) || !x.begun && !x.start.IsZero() && m.p.now.After(x.start) {
				m.t.Errorf("%s is pending %v after StartWithin (begun %v), %v after FinishWithin", name, m.p.now.Sub(x.start),
					x.begun, m.p.now.Sub(x.finish))
			}
			keep = append(keep, x)
			continue
		}
		x.settled = true
		reason, ok := x.receipt.Reason(), false
		switch reason {
		case NotAbandoned:
			ok = x.receipt.Outcome() == Delivered && x.begun
		case StartDeadline:
			ok = !x.start.IsZero() && !m.p.now.Before(x.start) && !x.begun
		case FinishDeadline:
			ok = !x.finish.IsZero() && !m.p.now.Before(x.finish)
		case TransmitLimit:
			ok = x.transmits > 0 && x.begun
		case ParentAbandoned:
			for _, parent := range x.parents {
				ok = ok || parent.receipt.Outcome() == Abandoned
			}
		case Superseded:
			for _, y := range x.f.msgs[x.seq+1:] {
				ok = ok || x.hasKey && y.hasKey && y.key == x.key
			}
		case Withdrawn:
			ok = x.withdrawn
		case FlowAborted:
			ok = x.f.aborted
		case FlowRejected:
			ok = x.f.mayBeRejected()
		}
		if !ok {
			m.t.Errorf("%s is %v, %v, for which there is no reason: %+v", name, x.receipt.Outcome(), reason, x)
		}
		select {
		case <-x.receipt.Done():
		default:
			m.t.Errorf("%s: Done is open after the outcome", name)
		}
	}
	clear(m.pending[len(keep):])
	m.pending = keep
}

// run advances for d and polls after whatever happens.
func (m *modelled) run(d time.Duration) {
	limit := m.p.now.Add(d)
	last, n := m.p.now, 0
	for m.p.step(limit) {
		m.poll()
		if n++; m.p.now.After(last) {
			last, n = m.p.now, 0
		} else if n > 10_000 {
			m.t.Fatalf("time stands still: a wants to be called at %v, b at %v, now is %v", m.p.a.m.NextTimeout().Sub(epoch),
				m.p.b.m.NextTimeout().Sub(epoch), last.Sub(epoch))
		}
	}
	m.p.now = limit
	m.p.flush(m.p.a)
	m.p.flush(m.p.b)
	m.poll()
	if err := errors.Join(m.p.a.err, m.p.b.err); err != nil {
		m.t.Fatal(err)
	}
}

// read reads up to n messages of every flow.
func (m *modelled) read(n int) {
	found := func(r *Receiver, at *side) {
		f := m.byLabel[r.Label()]
		if f == nil || f.r != nil || f.from.peer != at || !bytes.Equal(r.Metadata(), f.o.Metadata) || !f.moved && r.Priority() != f.o.Priority {
			m.t.Fatalf("flow %q came that is unknown, or again, or changed", r.Label())
		}
		f.r = r
	}
	for _, s := range []*side{m.p.a, m.p.b} {
		for r, err := s.m.Accept(over); err == nil; r, err = s.m.Accept(over) {
			found(r, s)
		}
	}
	for _, f := range m.flows {
		if f.returns > 0 {
			for r, err := f.s.AcceptReturn(over); err == nil; r, err = f.s.AcceptReturn(over) {
				found(r, f.from)
			}
		}
		for i := 0; f.r != nil && f.end == nil && i < n; i++ {
			msg, err := f.r.Recv(over)
			if err == nil {
				m.got(f, &msg)
				continue
			}
			if !errors.Is(err, over.Err()) {
				f.end = err
			}
			break
		}
	}
}

// got checks a message that was received.
func (m *modelled) got(f *modelledFlow, msg *Message) {
	if msg.Seq >= uint64(len(f.msgs)) {
		m.t.Fatalf("flow %s: message %d of %d was received", f.s.Label(), msg.Seq, len(f.msgs))
	}
	x := f.msgs[msg.Seq]
	switch {
	case x.received:
		m.t.Errorf("flow %s: message %d was received twice", f.s.Label(), msg.Seq)
	case !bytes.Equal(msg.Data, x.content) || msg.More:
		m.t.Errorf("flow %s: message %d arrived changed", f.s.Label(), msg.Seq)
	case int64(msg.Seq) < f.last && !f.disorder && !msg.Late:
		m.t.Errorf("flow %s: message %d was received after %d", f.s.Label(), msg.Seq, f.last)
	case int64(msg.Seq) < f.last && f.latest:
		m.t.Errorf("flow %s: message %d was received after %d, though only newer ones are wanted", f.s.Label(), msg.Seq, f.last)
	case x.receipt.Reason() == StartDeadline:
		m.t.Errorf("flow %s: message %d was received though nothing of it was sent in time", f.s.Label(), msg.Seq)
	}
	x.received = true
	f.last = max(f.last, int64(msg.Seq))
	msg.Release()
}

// weather changes what the network is like.
func (m *modelled) weather(good bool) {
	m.p.eachLink(func(l *link) {
		*l = link{delay: l.delay, ecn: l.ecn}
		if good {
			return
		}
		switch m.pick(8) {
		case 0:
			l.loss = float64(m.pick(31)) / 100
		case 1:
			l.burst = burstLoss(0.15, float64(1+m.pick(10)))
		case 2:
			l.passing = &overtaking{part: 0.1, by: 1 + m.pick(32)}
		case 3:
			l.jitter = m.ms(20)
		case 4:
			l.dup = 0.3
		case 5:
			l.rate, l.queue = float64(int(20_000)<<m.pick(6)), 5000<<m.pick(4)
		case 6:
			l.loss, l.passing, l.dup, l.jitter = 0.1, &overtaking{part: 0.1, by: 4}, 0.1, m.ms(10)
		}
	})
}

// act does something.
func (m *modelled) act() {
	if len(m.flows) == 0 || m.chance(25) && len(m.flows) < 12 {
		m.open(len(m.flows))
		return
	}
	f := m.flows[m.pick(len(m.flows))]
	switch m.pick(24) {
	default:
		for range 1 + m.pick(6) {
			m.send(f)
		}
	case 12, 13, 14, 15:
		m.run(m.ms(40))
	case 16, 17:
		m.read(1 + m.pick(20))
	case 18:
		if len(m.pending) > 0 {
			x := m.pending[m.pick(len(m.pending))]
			x.receipt.Abandon()
			x.withdrawn = true
		}
	case 19:
		if len(m.pending) > 0 {
			x := m.pending[m.pick(len(m.pending))]
			if x.withdrawn {
				return // that comes first
			}
			x.start, x.finish = m.p.now.Add(m.ms(100)), m.p.now.Add(m.ms(200))
			if m.chance(3) {
				x.finish = time.Time{}
			}
			x.receipt.SetDeadline(x.start, x.finish)
		}
	case 20:
		m.weather(false)
	case 21:
		switch m.pick(3) {
		case 0:
			f.moved = true
			f.s.SetPriority(Priority(m.pick(8) - 3))
		case 1:
			f.s.Announce()
		case 2:
			if f.r != nil {
				f.disorder = true
				o := Ordering(m.pick(3))
				f.latest = o == Latest
				f.outdates = f.outdates || f.latest
				f.r.SetOrdering(o)
				f.r.SetMaxWait(m.ms(50))
			}
		}
	case 22:
		switch m.pick(6) {
		case 0:
			f.aborted = f.aborted || !f.closed || f.s.Close(over) != nil
			f.s.Abort(uint64(m.pick(100)))
			f.refuses = true
		case 1:
			if f.r != nil {
				f.r.Reject(uint64(m.pick(100)))
				f.rejected = true
			}
		default:
			_ = f.s.Close(over)
			f.closed = true
		}
	case 23:
		switch m.pick(3) {
		case 0:
			m.p.a.limit = 600 + m.pick(1400)
		case 1:
			m.p.b.limit = 600 + m.pick(1400)
		case 2:
			s := []*side{m.p.a, m.p.b}[m.pick(2)]
			s.m.ResetPath(m.p.now, PathInfo{})
		}
	}
}

// finish heals the network, ends all flows and checks that everything has come to the end it must come to.
func (m *modelled) finish() {
	t := m.t
	m.weather(true)
	for _, f := range m.flows {
		_ = f.s.Close(over)
		f.closed = true
	}
	ended := func() bool {
		for _, f := range m.flows {
			if f.end == nil && !(f.r == nil && f.aborted) {
				return false
			}
		}
		return m.p.a.m.Idle() && m.p.b.m.Idle() && len(m.pending) == 0
	}
	for range 60 {
		m.run(time.Second)
		m.read(1 << 30)
		if ended() {
			break
		}
	}
	for _, f := range m.flows {
		f.s.RefuseReturns()
	}
	m.run(15 * time.Second)
	m.read(1 << 30)
	for _, x := range m.pending {
		t.Errorf("flow %s, message %d is pending at the end: %+v", x.f.s.Label(), x.seq, x)
	}
	for _, x := range m.all {
		name := fmt.Sprintf("flow %s, message %d", x.f.s.Label(), x.seq)
		gone := x.f.aborted || x.f.mayBeRejected()
		delivered := x.receipt.Outcome() == Delivered
		if x.reliable() && !delivered && !gone {
			t.Errorf("%s is %v, %v, though it was to be reliable", name, x.receipt.Outcome(), x.receipt.Reason())
		}
		if delivered && !x.received && !gone && !x.f.outdates {
			t.Errorf("%s is Delivered and was not received", name)
		}
	}
	for _, f := range m.flows {
		var aborted *AbortedError
		switch {
		case f.end == io.EOF && (f.closed || f.aborted):
		case f.rejected && errors.Is(f.end, ErrClosed):
		case f.aborted && (errors.As(f.end, &aborted) || f.r == nil):
		case f.parent != nil && f.parent.refuses:
		default:
			t.Errorf("flow %s ends with %v; closed %v, aborted %v, rejected %v", f.s.Label(), f.end, f.closed, f.aborted, f.rejected)
		}
		if f.end == io.EOF {
			st := f.r.Stats()
			if n := st.Messages + st.Skipped + st.Outdated; n != uint64(len(f.msgs)) || st.Outdated > 0 && !f.outdates {
				t.Errorf("flow %s ends after %d messages, of which the receiver has seen %+v", f.s.Label(), len(f.msgs), st)
			}
		}
		if st := f.s.Stats(); st.Queued != 0 || st.QueuedBytes != 0 || st.InFlight != 0 {
			t.Errorf("flow %s at the end: %+v", f.s.Label(), st)
		}
	}
	m.p.wantNoLeak()
	m.p.wantBalance()
	for _, s := range []*side{m.p.a, m.p.b} {
		if n := len(s.m.deadlines); n > 0 {
			t.Errorf("%s: %d deadlines are remembered", s.name, n)
		}
		if at := s.m.NextTimeout(); !at.IsZero() {
			t.Errorf("%s: wants to be called in %v though nothing goes on", s.name, at.Sub(m.p.now))
		}
	}
}

func modelledPair(t *testing.T, seed uint64, pick func(int) int) *pair {
	controllers := []func(int) Controller{nil, NewCUBIC, NewReno}
	p := newPair(t, Config{Controller: controllers[pick(3)]}, Config{RecvWindow: wire.InitialFlowWindow}).seed(seed)
	p.eachLink(func(l *link) { l.delay = time.Duration(1+pick(40)) * ms })
	return p
}

// TestModel does random things on several flows over a bad network and checks every packet, receipt and message against
// what may and must be.
func TestModel(t *testing.T) {
	seeds := uint64(lighter(300, 30))
	if testing.Short() {
		seeds = 30
	}
	var fates [reasons]int
	received := 0
	for seed := range seeds {
		rnd := newRand(seed)
		m := newModelled(t, modelledPair(t, seed, rnd.IntN), rnd.IntN)
		for range 150 {
			m.act()
		}
		m.finish()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		for _, x := range m.all {
			fates[x.receipt.Reason()]++
			if x.received {
				received++
			}
		}
	}
	t.Logf("fates %v, %d received", fates, received)
	for reason, n := range fates[:FlowRejected+1] {
		if n == 0 && seeds >= 300 {
			t.Errorf("no message came to the fate %v", Reason(reason))
		}
	}
}

// FuzzModel is TestModel with choices made by the fuzzer.
func FuzzModel(f *testing.F) {
	for seed := range uint64(4) {
		rnd, b := newRand(seed), make([]byte, 400)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) > 2000 {
			return
		}
		pick := func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0])
			choices = choices[1:]
			return c % n
		}
		m := newModelled(t, modelledPair(t, 1, pick), pick)
		for len(choices) > 0 {
			m.act()
		}
		m.finish()
	})
}

// TestMemoryComesBack lives through many lives of flows in one session and weighs it before and after.
func TestMemoryComesBack(t *testing.T) {
	rnd := newRand(99)
	p := modelledPair(t, 99, rnd.IntN)
	heap := func() int {
		p.flight, p.a.seen, p.b.seen = nil, nil, nil
		p.a.filter, p.b.filter = nil, nil // and with it the last life
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	live := func(n int) {
		for range n {
			m := newModelled(t, p, rnd.IntN)
			for range 100 {
				m.act()
			}
			m.finish()
		}
	}
	live(lighter(10, 2))
	before := heap()
	live(lighter(30, 4))
	after := heap()
	runtime.KeepAlive(p)
	t.Logf("%d bytes, then %d", before, after)
	if after-before > 256<<10 && !raceEnabled {
		t.Errorf("%d bytes more after thirty lives", after-before)
	}
}
