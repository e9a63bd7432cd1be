// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// overhead is what header, tag and padding would add to a payload.
const overhead = 29

// A side is one end of a pair: a mux and the little of a driver it needs.
type side struct {
	name  string
	m     *Mux
	pn    uint64
	limit int          // of a payload
	seen  rangeset.Set // packet numbers received, as a replay window knows them
	peer  *side
	link  *link // towards the peer
	err   error // of HandleChunk

	sent    int // packets
	filter  func(pn uint64, payload []byte) (drop bool)
	mtu     bool // send packets as large as the machine says, and probes, instead of limit
	acksOut int  // packets that carried nothing but an acknowledgement
}

// A link carries packets in one direction.
type link struct {
	delay  time.Duration
	jitter time.Duration // reorders
	loss   float64
	dup    float64
	rate   float64 // bytes per second; 0: no limit
	queue  int     // bytes that wait for their turn at most, if there is a rate
	freeAt time.Time
	drops  int
	mtu    int                     // largest packet carried, if not zero
	ecn    func(wire.ECN) wire.ECN // what becomes of a mark; nil: it is erased

	burst   *bursts     // losses that come in runs
	passing *overtaking // some packets are overtaken by the next ones
	neck    *bottleneck // rate and queue that may be shared and may change; then rate and queue mean nothing
}

type delivery struct {
	ecn  wire.ECN
	at   time.Time
	n    int
	to   *side
	pn   uint64
	data []byte
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	return d[i].at.Before(d[j].at) || d[i].at.Equal(d[j].at) && d[i].n < d[j].n
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	x := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return x
}

// A pair is two muxes and the network between them, in time that only the test advances.
type pair struct {
	t      *testing.T
	now    time.Time
	a, b   *side
	flight deliveries
	n      int
	still  int // steps since time has advanced or something has arrived
	rand   *rand.Rand
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newPair returns a pair with 10 ms of delay each way and nothing else wrong with the network.
func newPair(t *testing.T, ca, cb Config) *pair {
	p := &pair{t: t, now: epoch, rand: rand.New(rand.NewPCG(1, 2))}
	p.a = &side{name: "a", m: NewMux(&ca), limit: 1171, link: &link{delay: 10 * time.Millisecond}}
	p.b = &side{name: "b", m: NewMux(&cb), limit: 1171, link: &link{delay: 10 * time.Millisecond}}
	p.a.peer, p.b.peer = p.b, p.a
	t.Cleanup(func() {
		p.a.m.Close(p.now, errTestOver)
		p.b.m.Close(p.now, errTestOver)
	})
	return p
}

var errTestOver = errors.New("test over")

// eachLink applies f to both directions.
func (p *pair) eachLink(f func(l *link)) *pair {
	f(p.a.link)
	f(p.b.link)
	return p
}

// flush lets a side send what it may.
func (p *pair) flush(s *side) {
	buf := make([]byte, 0, 65536)
	for {
		limit, probe := s.limit, 0
		if s.mtu {
			limit, probe = s.m.MaxPacket()-overhead, s.m.MTUProbe(p.now)
		}
		if probe > 0 {
			b := make([]byte, probe-overhead) // padding, which a PING precedes
			wire.AppendChunk(b[:0], wire.ChunkPing, nil)
			p.send(s, s.pn, b)
			s.m.SentProbe(p.now, s.pn, probe)
			s.pn++
		}
		b := s.m.Append(p.now, s.pn, buf, limit)
		if len(b) == 0 {
			return
		}
		if len(b) > limit {
			p.t.Fatalf("%s: Append made %d bytes, limit %d", s.name, len(b), limit)
		}
		size := len(b) + overhead
		p.send(s, s.pn, append([]byte(nil), b...))
		s.m.Sent(p.now, s.pn, size, false)
		s.pn++
		s.sent++
		if s.sent > 5_000_000 {
			p.t.Fatalf("%s sends without end", s.name)
		}
	}
}

func (p *pair) send(s *side, pn uint64, data []byte) {
	if t, _, rest, _ := wire.NextChunk(data); t == wire.ChunkAck && len(rest) == 0 {
		s.acksOut++
	}
	l := s.link
	if s.filter != nil && s.filter(pn, data) || p.rand.Float64() < l.loss || l.mtu > 0 && len(data)+overhead > l.mtu ||
		l.burst != nil && l.burst.lose(p.now, p.rand) {
		l.drops++
		return
	}
	ecn := wire.NotECT
	if l.ecn != nil {
		ecn = l.ecn(s.m.ECN())
	}
	at := p.now
	if l.neck != nil {
		var ok bool
		if at, ecn, ok = l.neck.take(at, len(data)+overhead, s.m.ECN()); !ok {
			l.drops++
			return
		}
	} else if l.rate > 0 {
		if l.freeAt.Before(at) {
			l.freeAt = at
		}
		if waiting := l.freeAt.Sub(at).Seconds() * l.rate; int(waiting) > l.queue {
			l.drops++
			return
		}
		l.freeAt = l.freeAt.Add(time.Duration(float64(len(data)+overhead) / l.rate * float64(time.Second)))
		at = l.freeAt
	}
	copies := 1
	if p.rand.Float64() < l.dup {
		copies = 2
	}
	for range copies {
		d := at.Add(l.delay)
		if l.jitter > 0 {
			d = d.Add(time.Duration(p.rand.Int64N(int64(l.jitter))))
		}
		p.n++
		dl := delivery{ecn, d, p.n, s.peer, pn, data}
		if l.passing != nil {
			p.overtake(l.passing, &dl)
		}
		heap.Push(&p.flight, dl)
	}
}

// receive hands a packet to a side.
func (p *pair) receive(s *side, pn uint64, data []byte, ecn wire.ECN) {
	if s.seen.Contains(pn) {
		return
	}
	s.seen.Add(pn, pn+1)
	eliciting := false
	for len(data) > 0 {
		t, body, rest, err := wire.NextChunk(data)
		if err != nil {
			p.t.Fatalf("%s received %x: %v", s.name, data, err)
		}
		eliciting = eliciting || t.AckEliciting()
		if t == wire.ChunkPadding {
			break
		}
		if t.IsAck() || t.IsFlow() {
			if err := s.m.HandleChunk(p.now, t, body); err != nil {
				if s.err == nil {
					s.err = err
				}
				return
			}
		}
		data = rest
	}
	s.m.HandlePacketEnd(p.now, pn, eliciting, ecn)
}

// next returns when something happens next.
func (p *pair) next() time.Time {
	t := time.Time{}
	for _, u := range []time.Time{p.a.m.NextTimeout(), p.b.m.NextTimeout()} {
		if !u.IsZero() && (t.IsZero() || u.Before(t)) {
			t = u
		}
	}
	if len(p.flight) > 0 && (t.IsZero() || p.flight[0].at.Before(t)) {
		t = p.flight[0].at
	}
	return t
}

// step advances to the next thing that happens, no further than limit, and reports whether there is one.
func (p *pair) step(limit time.Time) bool {
	p.flush(p.a)
	p.flush(p.b)
	for _, s := range []*side{p.a, p.b} {
		if why := s.m.stalled(); why != "" {
			p.t.Fatalf("%s sleeps for ever: %s", s.name, why)
		}
	}
	t := p.next()
	if t.IsZero() || t.After(limit) {
		return false
	}
	p.advance(t)
	return true
}

// advance does what is due at t.
func (p *pair) advance(t time.Time) {
	p.still++
	if t.After(p.now) {
		p.now, p.still = t, 0
	}
	if p.still > 10 && (len(p.flight) == 0 || p.flight[0].at.After(p.now)) {
		p.t.Fatalf("timeouts that come to nothing: a %v, b %v, now %v", p.a.m.NextTimeout(), p.b.m.NextTimeout(), p.now)
	}
	for len(p.flight) > 0 && !p.flight[0].at.After(p.now) {
		d := heap.Pop(&p.flight).(delivery)
		p.receive(d.to, d.pn, d.data, d.ecn)
	}
	for _, s := range []*side{p.a, p.b} {
		if u := s.m.NextTimeout(); !u.IsZero() && !u.After(p.now) {
			s.m.HandleTimeout(p.now)
		}
	}
}

// run advances for d.
func (p *pair) run(d time.Duration) {
	p.t.Helper()
	limit := p.now.Add(d)
	for n := 0; p.step(limit); n++ {
		if n > 20_000_000 {
			p.t.Fatal("the pair does not come to rest")
		}
	}
	p.now = limit
	p.flush(p.a)
	p.flush(p.b)
	for _, s := range []*side{p.a, p.b} {
		if s.err != nil {
			p.t.Fatalf("%s: %v", s.name, s.err)
		}
	}
}

// stalled reports why a mux whose Append has just returned nothing waits for something that never comes, or "".
func (m *Mux) stalled() string {
	if m.closed {
		return ""
	}
	for _, r := range m.receivers {
		if held := r.held.len() > 0 && r.holds(*r.held.at(0)); held && (r.waitAt == 0 || m.waitAt.IsZero()) {
			return fmt.Sprintf("flow %d has messages behind a gap and no time to pass it", r.id)
		}
	}
	if m.starved() && m.probeAt.IsZero() {
		return "flows are blocked and nobody is to be reminded"
	}
	for i, s := range m.blocked {
		if int(s.blockedAt) != i+1 || s.failed {
			return fmt.Sprintf("place %d of those who wait for credit has a flow that is over or elsewhere", i+1)
		}
	}
	if why := m.sessionWait.wrong(m.sessionCredit()); why != "" && m.sched.n == 0 {
		return why
	}
	if !m.NextTimeout().IsZero() {
		return ""
	}
	if m.acks.Pending() || m.controlq.len() > 0 || m.limits.pending() || m.sched.n > 0 {
		return fmt.Sprintf("acknowledgement %v, %d receivers, limits %v, %d flows are to be sent",
			m.acks.Pending(), m.controlq.len(), m.limits.pending(), m.sched.n)
	}
	for s := range m.senders {
		if s.awaiting || s.blockedAt != 0 || s.waitAt != 0 {
			continue
		}
		if s.sendable() || s.unsettled() {
			return fmt.Sprintf("flow %q is not settled, and nothing of it is in flight", s.Label())
		}
	}
	return ""
}

// until advances until cond holds, at most for d.
func (p *pair) until(d time.Duration, why string, cond func() bool) {
	p.t.Helper()
	limit := p.now.Add(d)
	for !cond() {
		if !p.step(limit) {
			p.t.Fatalf("not within %v: %s\na: %+v\nb: %+v", d, why, p.a.m.Stats(), p.b.m.Stats())
		}
		for _, s := range []*side{p.a, p.b} {
			if s.err != nil {
				p.t.Fatalf("%s: %v", s.name, s.err)
			}
		}
	}
}

// over is a context that has ended: handles return what is at hand and do not block.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (p *pair) open(s *side, label string, o *Options) *Sender {
	p.t.Helper()
	f, err := s.m.Open(label, o)
	if err != nil {
		p.t.Fatalf("Open: %v", err)
	}
	return f
}

func (p *pair) send1(f *Sender, msg []byte) *Receipt {
	p.t.Helper()
	r, err := f.Send(over, msg)
	if err != nil {
		p.t.Fatalf("Send of %d bytes: %v", len(msg), err)
	}
	return r
}

// accept returns the next flow that arrives at s.
func (p *pair) accept(s *side) *Receiver {
	p.t.Helper()
	var r *Receiver
	p.until(time.Minute, s.name+" accepts a flow", func() bool {
		var err error
		r, err = s.m.Accept(over)
		return err == nil
	})
	return r
}

// recv returns the next message of r.
func (p *pair) recv(r *Receiver) Message {
	p.t.Helper()
	var msg Message
	p.until(10*time.Minute, "a message arrives", func() bool {
		var err error
		msg, err = r.Recv(over)
		if err != nil && !errors.Is(err, context.Canceled) {
			p.t.Fatalf("Recv: %v", err)
		}
		return err == nil
	})
	return msg
}

// recvErr returns the error with which r ends, and the messages before it.
func (p *pair) recvErr(r *Receiver) (msgs []Message, err error) {
	p.t.Helper()
	p.until(10*time.Minute, "the flow ends", func() bool {
		for {
			var msg Message
			if msg, err = r.Recv(over); err != nil {
				return !errors.Is(err, context.Canceled)
			}
			msgs = append(msgs, msg)
		}
	})
	return msgs, err
}

// closeFlow closes f and returns what Close says once it is settled.
func (p *pair) closeFlow(f *Sender) error {
	p.t.Helper()
	var err error
	p.until(10*time.Minute, "Close returns", func() bool {
		err = f.Close(over)
		return !errors.Is(err, context.Canceled)
	})
	return err
}

// pattern returns n bytes that differ from message to message.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// wantEOF checks that the flow is closed in good order.
func (p *pair) wantEOF(r *Receiver) {
	p.t.Helper()
	if msgs, err := p.recvErr(r); err != io.EOF || len(msgs) > 0 {
		p.t.Errorf("end of the flow: %d messages and %v, want io.EOF", len(msgs), err)
	}
}

// wrong says what is amiss with a line whose head has been served with so much credit.
func (l *sessionLine) wrong(credit uint64) string {
	n, left := 0, 0
	for level, line := range l.levels {
		for i, p := range line {
			switch {
			case p.s == nil:
				left++
			case int(p.s.waitAt) != i+1 || int(p.s.level) != level || p.s.failed:
				return fmt.Sprintf("place %d of level %d has a flow that is over or elsewhere", i+1, level)
			case p.need < l.least || p.need <= credit:
				return fmt.Sprintf("a flow waits for %d bytes of credit, of which there are %d; the least is said to be %d",
					p.need, credit, l.least)
			default:
				n++
			}
		}
	}
	if n != l.n || left != l.left || left > n+16 {
		return fmt.Sprintf("%d flows wait and %d have left, counted %d and %d", n, left, l.n, l.left)
	}
	return ""
}
