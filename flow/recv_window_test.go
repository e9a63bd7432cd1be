// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// fill keeps a sender's buffer full.
func fill(t *testing.T, f *Sender, msg []byte) {
	t.Helper()
	for {
		if _, err := f.TrySend(msg); errors.Is(err, ErrWouldBlock) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// stream sends for as long as d on a flow that is read at once, and returns the bytes read in the second half.
func (p *pair) stream(f *Sender, r *Receiver, msg []byte, d time.Duration) (n int) {
	p.t.Helper()
	start := p.now
	for p.now.Before(start.Add(d)) {
		fill(p.t, f, msg)
		if !p.step(start.Add(d)) {
			break
		}
		msgs, _ := take(r)
		for i := range msgs {
			if p.now.After(start.Add(d / 2)) {
				n += len(msgs[i].Data)
			}
			msgs[i].Release()
		}
	}
	return n
}

// TestWindowGrows fills a path of 100 Mbit/s and 200 ms with one flow, which takes 2.5 MB in flight.
func TestWindowGrows(t *testing.T) {
	for name, size := range map[string]int{"small messages": 1000, "messages larger than the window": 4 << 20} {
		p := newPair(t, Config{Controller: NewReno}, Config{}) // which fills it whatever the delay
		p.eachLink(func(l *link) { l.delay, l.rate, l.queue = 100*time.Millisecond, 100e6/8, 4<<20 })
		f := p.open(p.a, "", &Options{SendBuffer: 16 << 20})
		p.send1(f, nil)
		r := p.accept(p.b)
		n := p.stream(f, r, pattern(size, 1), 8*time.Second)
		if rate := float64(n) * 8 / 4 / 1e6; rate < 85 {
			t.Errorf("%s: %.0f Mbit/s in the second half, want nearly 100; %+v, blocked %d times", name, rate, r.Stats(),
				p.a.m.Stats().Blocked)
		}
		if w := r.Stats().Window; w < 4<<20 || w > 16<<20 {
			t.Errorf("%s: window of %d bytes for a path that holds 2.5 MB", name, w)
		}
	}
}

// TestWindowStays checks that a window which does not limit its flow does not grow, and that one may be told not to.
func TestWindowStays(t *testing.T) {
	const mbit = 1e6 / 8
	for _, test := range []struct {
		name   string
		config Config
		rate   float64
		want   int
	}{
		{"slow path", Config{}, 2 * mbit, 256 << 10}, // 50 kB in flight
		{"bounded", Config{RecvWindow: 100_000, MaxRecvWindow: 300_000}, 50 * mbit, 300_000},
		{"fixed", Config{RecvWindow: 100_000, MaxRecvWindow: -1}, 50 * mbit, 100_000},
	} {
		p := newPair(t, Config{}, test.config)
		p.eachLink(func(l *link) { l.delay, l.rate, l.queue = 100*time.Millisecond, test.rate, 10_000 })
		f := p.open(p.a, "", &Options{SendBuffer: 1 << 20})
		p.send1(f, nil)
		r := p.accept(p.b)
		p.stream(f, r, pattern(1000, 1), 5*time.Second)
		if w := r.Stats().Window; w != test.want {
			t.Errorf("%s: window of %d bytes, want %d", test.name, w, test.want)
		}
	}
}

// TestSessionWindowGrows does the same for all flows together, up to the bound, which holds when nobody reads any more.
func TestSessionWindowGrows(t *testing.T) {
	const bound = 4 << 20
	p := newPair(t, Config{}, Config{MaxMessage: 100_000, SessionWindow: bound, RecvWindow: 1 << 20})
	p.eachLink(func(l *link) { l.delay, l.rate, l.queue = 100*time.Millisecond, 100e6/8, 4<<20 })
	first := p.b.m.recvWindow
	f := p.open(p.a, "", &Options{SendBuffer: 16 << 20})
	p.send1(f, nil)
	r := p.accept(p.b)
	p.stream(f, r, pattern(1000, 1), 6*time.Second)
	if w := p.b.m.recvWindow; w <= first || w != bound {
		t.Errorf("session's window of %d bytes, which started at %d, want %d", w, first, bound)
	}
	for range 10 {
		fill(t, p.open(p.a, "", &Options{SendBuffer: 1 << 20}), pattern(1000, 1))
	}
	p.run(10 * time.Second)
	if held := p.b.m.recvUsed - p.b.m.recvConsumed; held > bound || held < bound/2 {
		t.Errorf("%d bytes held with nobody reading, want nearly %d and no more", held, bound)
	}
}

// TestResumeAfterLostUpdate stops reading until the window is full, reads, and loses what tells the sender so.
func TestResumeAfterLostUpdate(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", &Options{SendBuffer: 1 << 20})
	p.send1(f, nil)
	r := p.accept(p.b)
	fill(t, f, pattern(1000, 1))
	p.run(time.Second)
	used := r.Stats().Used
	if used < 250_000 || used > 256<<10+1000+wire.MessageCost {
		t.Fatalf("%d of credit used with nobody reading, want the window", used)
	}
	for range 3 { // once by itself, and again when the sender's reminder is answered
		_, _ = take(r)
		p.b.filter = func(uint64, []byte) bool { return true }
		p.flush(p.b)
		p.b.filter = nil
	}
	p.until(2*time.Second, "the flow goes on", func() bool { return r.Stats().Used > used })
}

// TestTimeCritical notes when urgent data comes.
func TestTimeCritical(t *testing.T) {
	f := newFeed(t, Config{})
	opening := func(id uint64, level uint8, has bool) []byte {
		return (&wire.FlowOpen{Flow: id, HasPriority: has, Priority: level}).Append(nil)
	}
	f.must(opening(0, 0, false), data(0, 0, 0, 1, true), opening(1, 4, true), data(1, 0, 0, 1, true), opening(2, 3, true))
	if _, at := f.m.TimeCritical(); !at.IsZero() {
		t.Errorf("time-critical data received at %v, want never", at)
	}
	f.at(time.Second)
	f.must(data(2, 0, 0, 1, false))
	f.at(2 * time.Second)
	f.must(data(1, 1, 0, 1, true), data(2, 0, 0, 1, false)) // the latter again, which says nothing
	if _, at := f.m.TimeCritical(); at.Sub(epoch) != time.Second && at.Sub(epoch) != 2*time.Second {
		t.Errorf("time-critical data received at %v, want a second after the beginning", at.Sub(epoch))
	}
	for _, want := range []Priority{Routine, Routine, Urgent} {
		if got := f.accept().Priority(); got != want {
			t.Errorf("priority %d, want %d", got, want)
		}
	}
}

// TestReceiverStats checks what is said of messages that have not been read.
func TestReceiverStats(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	f.at(time.Second)
	f.must(data(0, 1, 0, 10, true), data(0, 2, 0, 10, false))
	f.at(2 * time.Second)
	if s := r.Stats(); s.AtHand != 0 || !s.Oldest.IsZero() || s.Buffered != 2*(10+wire.MessageCost) || s.Messages != 0 {
		t.Errorf("with nothing at hand: %+v", s)
	}
	f.must(data(0, 0, 0, 10, true))
	f.at(3 * time.Second)
	f.must(data(0, 2, 5, 6, true))
	s := r.Stats()
	if s.AtHand != 3 || s.Buffered != 31+3*wire.MessageCost || s.Used != uint64(s.Buffered) || s.Duplicate != 5 ||
		s.Granted != wire.InitialFlowWindow || s.Window != 256<<10 {
		t.Errorf("with three messages at hand: %+v", s)
	}
	if got := s.Oldest.Sub(epoch); got != 2*time.Second {
		t.Errorf("the first has been at hand since %v, want 2s", got)
	}
	_, _ = r.Recv(over)
	_, _ = r.Recv(over)
	f.m.collect()
	if s := r.Stats(); s.AtHand != 1 || s.Buffered != 11+wire.MessageCost || s.Oldest.Sub(epoch) != 3*time.Second || s.Bytes != 31 {
		t.Errorf("with one message at hand: %+v", s)
	}
}

// TestNothingIsBufferedOfARejectedFlow refuses a flow with a message that waits behind a gap, and one with less than the
// sender has used.
func TestNothingIsBufferedOfARejectedFlow(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	f.must(data(0, 1, 0, 10, true))
	if got := r.Stats().Buffered; got != 10+wire.MessageCost {
		t.Errorf("%d bytes buffered, want the message behind the gap", got)
	}
	r.Reject(1)
	f.m.collect()
	if s := r.Stats(); s.Buffered != 0 || s.Used != 10+wire.MessageCost {
		t.Errorf("after Reject: %+v, want nothing buffered", s)
	}
	f.must(ints(wire.ChunkFlowAbort, 0, 1, 500))
	if s := r.Stats(); s.Buffered != 0 || s.Used != 500 {
		t.Errorf("after the sender's abort: %+v, want nothing buffered of 500 used", s)
	}
}
