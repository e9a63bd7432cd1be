// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/recovery"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// The tests of this file do what takes a moment, and took seconds or minutes when its cost grew with the square or the
// cube of what a peer may cause.

// TestEverySecondFragmentLost acknowledges every second fragment of a long message before the others are found lost.
func TestEverySecondFragmentLost(t *testing.T) {
	const frag, size = 1100, 16 << 20
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	m.begin(epoch, 0)
	m.handleLimits(1<<30, 100, size)
	s, err := m.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.TrySend(make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	m.collect()
	m.assignID(s)
	s.flowLimit = 1 << 30
	p, units := s.message(0), size+1
	m.useCredit(s, p, units)
	s.next++
	settle := func(fate recovery.Fate, from, step int) {
		for a := from * frag; a < units; a += step * frag {
			m.settle(0, []item{{kind: itemData, s: s, a: a, b: min(a+frag, units), tx: 1}}, fate)
		}
	}
	settle(recovery.Acked, 0, 2)
	settle(recovery.Lost, 1, 2)
	if got, want := p.ranges.lost.Size()+p.ranges.acked.Size(), uint64(units); got != want {
		t.Errorf("%d units lost or acknowledged, want all %d", got, want)
	}
	settle(recovery.Lost, 0, 2) // what has been acknowledged cannot be lost
	if got, want := len(p.ranges.lost), (units+frag-1)/frag/2; got != want {
		t.Errorf("%d fragments are to be sent again, want %d", got, want)
	}
	for len(s.resend) > 0 {
		before := len(p.ranges.lost)
		if m.appendMessages(s, nil, 1171); len(p.ranges.lost) >= before {
			t.Fatal("nothing is sent again")
		}
	}
	settle(recovery.Acked, 1, 2)
	m.returnBuffers()
	if r.Outcome() != Delivered || s.stats.InFlight != 0 || s.buffered != 0 {
		t.Errorf("%v, %d in flight, %d waiting; want it delivered and nothing left", r.Outcome(), s.stats.InFlight, s.buffered)
	}
}

// TestSkipsAmongManyGaps skips messages before thousands of gaps.
func TestSkipsAmongManyGaps(t *testing.T) {
	f := newFeed(t, Config{})
	if err := f.chunks(open(0)); err != nil {
		t.Fatal(err)
	}
	const gaps = 8000
	for i := range uint64(gaps) {
		if err := f.chunks(skip(0, (i+1)<<20, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(100_000) {
		if err := f.chunks(skip(0, 2+i, 0)); err != nil {
			t.Fatal(err)
		}
	}
	r := f.m.receivers[0]
	if len(r.gone) != gaps+1 || r.base != 0 || f.m.pieces != len(r.gone) {
		t.Errorf("%d ranges, base %d, want %d and 0", len(r.gone), r.base, gaps+1)
	}
	if err := f.chunks(skip(0, 0, 0, 0)); err != nil || r.base != 100_002 || len(r.gone) != gaps || f.m.pieces != gaps {
		t.Errorf("%v, %d ranges, base %d, want %d and 100002", err, len(r.gone), r.base, gaps)
	}
}

// TestMaxWaitOnManyFlows has messages wait behind gaps on many flows, each for its own time.
func TestMaxWaitOnManyFlows(t *testing.T) {
	const flows, rounds, wait = 128, 20, 50 * time.Millisecond
	f := newFeed(t, Config{RecvWindow: 1 << 20})
	receivers := make([]*Receiver, flows)
	for id := range uint64(flows) {
		if err := f.chunks(open(id)); err != nil {
			t.Fatal(err)
		}
		r, err := f.m.Accept(over)
		if err != nil {
			t.Fatal(err)
		}
		r.SetMaxWait(wait)
		receivers[id] = r
		f.m.collect()
		for k := range uint64(900) { // most of which wait for the rest of them
			if err := f.chunks(data(id, 1+2*k, 0, 1, k >= 890)); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := 0
	read := func() {
		for _, r := range receivers {
			for r.Stats().AtHand > 0 {
				msg, err := r.Recv(over)
				if err != nil {
					t.Fatal(err)
				}
				if late := f.now.Sub(f.m.epoch.Add(time.Duration(msg.at))); late > wait || late < wait-wait/16 {
					t.Fatalf("message %d waited for %v, want %v or a little less", msg.Seq, late, wait)
				}
				got++
			}
		}
	}
	advance := func(d time.Duration) {
		for end := f.now.Add(d); ; {
			at := f.m.NextTimeout()
			if at.IsZero() || at.After(end) {
				f.now = end
				return
			}
			if at.Before(f.now) {
				t.Fatalf("timeout at %v, %v ago", at, f.now.Sub(at))
			}
			f.now = at
			f.m.HandleTimeout(f.now)
			f.m.Append(f.now, 0, nil, 1171)
			read()
		}
	}
	for i := range uint64(flows * rounds) {
		advance(100 * time.Microsecond)
		if err := f.chunks(data(i%flows, 5000+2*i, 0, 1, true)); err != nil {
			t.Fatal(err)
		}
	}
	advance(wait)
	if want := flows * (rounds + 10); got != want {
		t.Errorf("%d messages were handed over, want %d", got, want)
	}
}

// TestHeldListIsBounded has a message wait behind a gap for ever while others come and go before it.
func TestHeldListIsBounded(t *testing.T) {
	f := newFeed(t, Config{})
	if err := f.chunks(open(0)); err != nil {
		t.Fatal(err)
	}
	r, err := f.m.Accept(over)
	if err != nil {
		t.Fatal(err)
	}
	r.SetMaxWait(math.MaxInt64)
	f.m.collect()
	if err := f.chunks(data(0, 1<<40, 0, 1, true)); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(10_000) {
		if err := f.chunks(data(0, 2*i+1, 0, 1, true), data(0, 2*i, 0, 1, true)); err != nil {
			t.Fatal(err)
		}
		f.m.collect()
		for range 2 {
			if msg, err := r.Recv(over); err != nil || msg.Seq/2 != i {
				t.Fatalf("message %d, %v, want one of %d", msg.Seq, err, 2*i)
			}
		}
	}
	if n := r.held.len(); n > 64 {
		t.Errorf("%d messages are remembered, want about the one that waits", n)
	}
	f.now = f.now.Add(1000 * time.Hour)
	f.m.HandleTimeout(f.now)
	if n := r.Stats().AtHand; n != 0 {
		t.Error("a message that may wait for ever was handed over before the one it waits for")
	}
}

// TestDeadlinesOfWaitingFlows has ten thousand flows wait for the session's credit with messages that expire one by one.
func TestDeadlinesOfWaitingFlows(t *testing.T) {
	const flows = 10_000
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	m.begin(epoch, 0)
	m.handleLimits(0, 2*flows, 1<<24)
	m.sendUsed = m.sendLimit
	var receipts []*Receipt
	for i := range flows {
		s, err := m.Open("", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r, err := s.TrySend(nil, StartWithin(time.Second+time.Duration(i)*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, r)
		}
	}
	now := epoch
	m.Append(now, 0, nil, 1171)
	if m.sessionWait.n != flows || m.sched.n != 0 {
		t.Fatalf("%d flows wait, %d are scheduled; want all to wait", m.sessionWait.n, m.sched.n)
	}
	reminded := 0
	for range flows + 20 {
		at := m.NextTimeout()
		if at.IsZero() {
			break
		}
		now = at
		m.HandleTimeout(now)
		for b := m.Append(now, 0, nil, 1171); len(b) > 0; {
			typ, _, rest, err := wire.NextChunk(b)
			if err != nil {
				t.Fatal(err)
			}
			if typ == wire.ChunkSessionBlocked {
				reminded++
			}
			b = rest
		}
		m.Sent(now, 0, 0, false)
		m.loss.Close()
	}
	for i, r := range receipts {
		if r.Reason() != StartDeadline {
			t.Fatalf("message %d: %v, want StartDeadline", i, r.Reason())
		}
	}
	if m.sessionWait.n != 0 || !m.probeAt.IsZero() {
		t.Errorf("%d flows wait at the end, reminder at %v; want none", m.sessionWait.n, m.probeAt)
	}
	if reminded < 2 { // after 1 s, 2 s, 4 s, …, as if the messages had waited on
		t.Errorf("the peer was reminded %d times in ten seconds, want some", reminded)
	}
}

// TestGrantsTooSmallForAnybody has ten thousand flows wait for the session's credit, which the peer grants by the byte.
func TestGrantsTooSmallForAnybody(t *testing.T) {
	const flows, need = 10_000, 1000 + wire.MessageCost
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	m.begin(epoch, 0)
	m.handleLimits(0, 2*flows, 1<<24)
	m.sendUsed = m.sendLimit
	for i := range flows {
		s, err := m.Open("", nil)
		if err == nil {
			_, err = s.TrySend(make([]byte, 1000+i%7))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m.Append(epoch, 0, nil, 1171)
	for range need - 1 {
		m.handleLimits(m.sendLimit+1, 2*flows, 1<<24)
		if m.sched.n > 0 {
			t.Fatalf("%d flows look at %d bytes of credit, of which they need %d", m.sched.n, m.sendLimit-m.sendUsed, need)
		}
	}
	m.handleLimits(m.sendLimit+1, 2*flows, 1<<24)
	if m.Append(epoch, 0, nil, 1171); m.count.MessagesSent != 1 || m.sessionWait.n != flows-1 {
		t.Errorf("%d messages begun, %d flows wait; want one that has what it needs and the others", m.count.MessagesSent,
			m.sessionWait.n)
	}
}

// TestSessionLimitRaisedInSmallSteps has ten thousand flows wait for credit that comes in crumbs.
func TestSessionLimitRaisedInSmallSteps(t *testing.T) {
	const flows, size = 10_000, 200
	looks := 0 // flows that were let on
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	m.begin(epoch, 0)
	m.handleLimits(0, 2*flows, 1<<24)
	m.sendUsed = m.sendLimit
	open := func(p Priority, size int) *Sender {
		s, err := m.Open("", &Options{Priority: p})
		if err == nil {
			_, err = s.TrySend(make([]byte, size))
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	all := make([]*Sender, flows)
	for i := range all {
		all[i] = open(Routine, size)
	}
	pump := func() {
		for len(m.Append(epoch, 0, nil, 1171)) > 0 {
			m.Sent(epoch, 0, 0, false)
			m.loss.Close()
		}
	}
	pump()
	urgent, moved := open(Urgent, 2*size), all[flows-1]
	pump()
	moved.SetPriority(Override)
	pump()
	if m.sessionWait.n != flows+1 {
		t.Fatalf("%d flows wait, want all %d", m.sessionWait.n, flows+1)
	}
	began := m.count.MessagesSent
	started := func() uint64 { return m.count.MessagesSent - began }
	raise := func(by uint64) {
		m.handleLimits(m.sendLimit+by, 2*flows, 1<<24)
		looks += m.sched.n
		pump()
	}
	const need = size + wire.MessageCost
	for range need - 1 {
		raise(1)
	}
	if n := started(); n != 0 {
		t.Errorf("%d messages begun with less credit than the smallest needs", n)
	}
	raise(1)
	if moved.next != 1 || started() != 1 {
		t.Errorf("%d messages begun, of the flow moved to the top %d; want one, of that", started(), moved.next)
	}
	raise(need + size)
	if urgent.next != 1 || started() != 2 {
		t.Errorf("%d messages begun, %d of the urgent flow; want one more, the urgent one's", started(), urgent.next)
	}
	for i := range need * (flows - 1) / 20 {
		raise(20)
		if i%1000 != 0 {
			continue
		}
		if got, want := started(), uint64(2+(i+1)*20/need); got != want {
			t.Fatalf("%d messages begun with credit for %d", got, want)
		}
		if why := m.sessionWait.wrong(m.sessionCredit()); why != "" {
			t.Fatal(why)
		}
	}
	raise(need)
	if m.sessionWait.n != 0 || started() != flows+1 {
		t.Errorf("%d flows wait at the end, %d messages begun; want none and %d", m.sessionWait.n, started(), flows+1)
	}
	if looks != flows+1 {
		t.Errorf("flows were let on %d times, want once for each of %d messages", looks, flows+1)
	}
}

// TestCreditLeftToOthers: who is let on by the session's credit and cannot use it leaves it to those behind.
func TestCreditLeftToOthers(t *testing.T) {
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	m.begin(epoch, 0)
	m.handleLimits(0, 10, 1<<24)
	m.sendUsed = m.sendLimit
	var flows [3]*Sender
	for i := range flows {
		var err error
		if flows[i], err = m.Open("", nil); err == nil {
			_, err = flows[i].TrySend(make([]byte, 100))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m.Append(epoch, 0, nil, 1171)
	flows[0].flowLimit = 0
	m.handleLimits(m.sendLimit+100+wire.MessageCost, 10, 1<<24)
	m.Append(epoch, 0, nil, 1171)
	if flows[0].blockedAt == 0 || flows[1].next != 1 || flows[2].waitAt == 0 || m.sessionWait.n != 1 {
		t.Errorf("the second flow has begun %d messages, %d flows wait; want it to use what the first, which has no credit "+
			"of its own, cannot, and the third to wait", flows[1].next, m.sessionWait.n)
	}
}

// TestLargestMessageIsLearnedWhileWaiting tells a sender that its message is too large, but grants no credit for it.
func TestLargestMessageIsLearnedWhileWaiting(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	m, s := p.a.m, p.open(p.a, "", nil)
	r := p.send1(s, make([]byte, 2<<20))
	m.Append(p.now, 0, nil, 1171)
	if s.waitAt == 0 {
		t.Fatal("the message does not wait for credit")
	}
	m.handleLimits(0, 0, 1<<20)
	m.Append(p.now, 0, nil, 1171)
	m.Append(p.now, 0, nil, 1171)
	var abandoned *AbandonedError
	if err := r.Err(); !errors.As(err, &abandoned) || abandoned.Reason != FlowAborted || !errors.Is(err, ErrTooLarge) {
		t.Errorf("the message: %v, want FlowAborted, ErrTooLarge", err)
	}
}
