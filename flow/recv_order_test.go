// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// whole sends messages of one byte.
func (f *feed) whole(seqs ...uint64) {
	f.t.Helper()
	for _, seq := range seqs {
		f.must(data(0, seq, 0, 1, true))
	}
}

// wantNumbers checks which messages are at hand.
func wantNumbers(t *testing.T, r *Receiver, why string, want ...uint64) {
	t.Helper()
	msgs, _ := take(r)
	if got := numbers(msgs); !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", why, got, want)
	}
}

// TestOrderingHint checks whose word counts about the order.
func TestOrderingHint(t *testing.T) {
	for _, test := range []struct {
		o    wire.FlowOpen
		set  bool
		want []uint64
	}{
		{wire.FlowOpen{}, false, nil},
		{wire.FlowOpen{}, true, []uint64{2, 1}},
		{wire.FlowOpen{Arrival: true}, false, []uint64{2, 1}},
		{wire.FlowOpen{Arrival: true, Stream: true}, false, nil},
		{wire.FlowOpen{Stream: true}, true, nil},
	} {
		f := newFeed(t, Config{})
		f.must(test.o.Append(nil))
		r := f.accept()
		if test.set {
			r.SetOrdering(Arrival)
			f.m.collect()
		}
		f.whole(2, 1)
		wantNumbers(t, r, fmt.Sprintf("%+v, set %v", test.o, test.set), test.want...)
	}
}

// TestSetOrdering changes the order back and forth.
func TestSetOrdering(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	f.whole(1, 3)
	wantNumbers(t, r, "in order, before the first")
	r.SetOrdering(Arrival)
	f.m.collect()
	wantNumbers(t, r, "after the change to arrival", 1, 3)
	f.whole(5, 9, 7)
	if msg, err := r.Recv(over); err != nil || msg.Seq != 5 {
		t.Fatalf("Recv = %d, %v, want message 5", msg.Seq, err)
	}
	r.SetOrdering(Ordered) // 7 and 9 have not been read
	wantNumbers(t, r, "before the loop has put them in order")
	f.m.collect()
	wantNumbers(t, r, "in order again")
	f.whole(4, 6)
	wantNumbers(t, r, "0 and 2 are still missing")
	f.whole(0)
	wantNumbers(t, r, "up to the next that is missing", 0)
	f.must(skip(0, 2, 0))
	wantNumbers(t, r, "up to the last", 4, 6, 7)
	f.whole(8, 9, 7)
	wantNumbers(t, r, "the rest", 8, 9)
	f.must(ints(wire.ChunkFlowEnd, 0, 10, 9*(wire.MessageCost+1)))
	if _, err := r.Recv(over); err != io.EOF {
		t.Errorf("Recv: %v, want io.EOF", err)
	}
	f.wantBalance(r, 9*(wire.MessageCost+1), 0)
	if s := r.Stats(); s.Messages != 9 || s.Bytes != 9 || s.Late != 0 || f.m.count.MessagesReceived != 9 {
		t.Errorf("stats %+v, want 9 messages", s)
	}
}

// TestSetOrderingAtTheEnd puts in order what is left of a flow of which nothing more comes.
func TestSetOrderingAtTheEnd(t *testing.T) {
	for _, before := range []bool{false, true} {
		f := newFeed(t, Config{})
		f.must(open(0))
		r := f.accept()
		r.SetOrdering(Arrival)
		f.m.collect()
		f.whole(3, 1, 2)
		if before {
			r.SetOrdering(Ordered)
			f.m.Close(epoch, errTestOver)
			wantNumbers(t, r, "when the session dies meanwhile", []uint64{}...)
			continue
		}
		f.must(ints(wire.ChunkFlowAbort, 0, 0, 3*(wire.MessageCost+1)))
		r.SetOrdering(Ordered)
		wantNumbers(t, r, "after the abort", 1, 2, 3)
	}
}

// at has a feed's mux see the time t after the epoch.
func (f *feed) at(t time.Duration) {
	f.now = epoch.Add(t)
	for {
		at := f.m.NextTimeout()
		if at.IsZero() || at.After(f.now) {
			return
		}
		f.m.HandleTimeout(f.now)
		f.m.acks.Sent(true) // or it would stay due
	}
}

// TestMaxWait lets messages wait for a second behind gaps.
func TestMaxWait(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	r.SetMaxWait(time.Second)
	f.m.collect()
	want := func(why string, late bool, seqs ...uint64) {
		t.Helper()
		msgs, _ := take(r)
		if got := numbers(msgs); !slices.Equal(got, seqs) {
			t.Errorf("%s at %v: got %v, want %v", why, f.now.Sub(epoch), got, seqs)
		}
		for _, msg := range msgs {
			if msg.Late != late {
				t.Errorf("%s: message %d late: %v, want %v", why, msg.Seq, msg.Late, late)
			}
		}
	}
	f.must(skip(0, 0, 0)) // so that the numbers are those of the description
	f.whole(4, 5, 3)
	want("held", false)
	f.whole(1, 2)
	want("the gap is closed", false, 1, 2, 3, 4, 5)
	f.whole(6)
	want("immediate", false, 6)
	f.whole(10, 8, 9)
	want("held", false)
	f.at(500 * time.Millisecond)
	f.whole(12, 14)
	want("held", false)
	f.at(700 * time.Millisecond)
	f.whole(15)
	want("held", false)
	f.at(900 * time.Millisecond)
	want("not yet", false)
	f.at(1100 * time.Millisecond)
	want("by age", false, 8, 9, 10)
	f.whole(7)
	want("late", true, 7)
	f.at(1400 * time.Millisecond)
	want("not yet", false)
	f.at(1600 * time.Millisecond)
	want("by age", false, 12, 14, 15)
	f.whole(18)
	f.at(1700 * time.Millisecond)
	want("held", false)
	f.must(skip(0, 16, 0, 0))
	want("the gap is given up", false, 18)
	f.whole(13, 11, 11, 13)
	want("late, in order of arrival", true, 13, 11)
	if s := r.Stats(); s.Late != 3 || r.base != 19 || len(r.gone) != 0 {
		t.Errorf("%d late, base %d, ranges %v; want 3, 19 and none", s.Late, r.base, r.gone)
	}
	// Setting it while messages wait counts from when they came; taking it away has them wait again.
	f.whole(21, 23)
	r.SetMaxWait(0)
	f.m.collect()
	f.at(10 * time.Second)
	want("waiting is unbounded", false)
	r.SetMaxWait(9 * time.Second)
	f.m.collect()
	f.at(10700 * time.Millisecond)
	want("by age", false, 21, 23)
	// What waits when the flow is aborted need not wait for what will not come.
	f.whole(26)
	f.must(ints(wire.ChunkFlowAbort, 0, 0, r.used))
	want("aborted", false, 26)
	if !f.m.NextTimeout().IsZero() {
		f.at(time.Hour)
	}
	var aborted *AbortedError
	if _, err := r.Recv(over); !errors.As(err, &aborted) {
		t.Errorf("Recv: %v, want an AbortedError", err)
	}
	f.wantBalance(r, r.used, 0)
}

// TestRepetitionDoesNotWaitAnew repeats a message that waits behind a gap: it has waited since it first came.
func TestRepetitionDoesNotWaitAnew(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	r.SetMaxWait(time.Second)
	f.m.collect()
	f.must(data(0, 1, 0, 10, true))
	f.at(900 * time.Millisecond)
	f.must(data(0, 1, 5, 5, true))
	if got := r.Stats().Duplicate; got != 5 {
		t.Errorf("%d bytes were received again, want 5", got)
	}
	f.at(1100 * time.Millisecond)
	if msgs, _ := take(r); !slices.Equal(numbers(msgs), []uint64{1}) {
		t.Errorf("got %v after more than SetMaxWait allows, want 1", numbers(msgs))
	}
	if err := f.chunks(data(0, 3, 0, 10, true), data(0, 3, 5, 6, false)); err == nil {
		t.Error("a waiting message that becomes longer is no violation")
	}
}

// TestMaxWaitManyGaps has the searches for what has waited stay few, however many gaps there are.
func TestMaxWaitManyGaps(t *testing.T) {
	f := newFeed(t, Config{RecvWindow: 1 << 20})
	f.must(open(0), data(0, 1, 0, 20_000, true)) // makes the window open up
	f.m.Append(epoch, 0, nil, 1171)
	r := f.accept()
	r.SetMaxWait(time.Second)
	f.m.collect()
	for n := range uint64(5000) {
		f.now = epoch.Add(time.Duration(n) * 100 * time.Microsecond)
		f.whole(3 + 2*n)
	}
	timeouts, got := 0, 0
	for !r.settled && got < 5001 {
		at := f.m.waitAt
		if at.IsZero() || at.After(epoch.Add(2*time.Second)) {
			t.Fatalf("%d messages by %v, want all", got, at)
		}
		f.m.HandleTimeout(at)
		timeouts++
		msgs, _ := take(r)
		got += len(msgs)
	}
	if timeouts > 20 {
		t.Errorf("%d searches for 5000 gaps within half a second, want at most 20", timeouts)
	}
}

// TestArrivalOverLoss compares what a loss delays in each order.
func TestArrivalOverLoss(t *testing.T) {
	for _, o := range []Ordering{Ordered, Arrival} {
		p := newPair(t, Config{}, Config{})
		f := p.open(p.a, "", &Options{Ordering: o})
		p.send1(f, nil)
		r := p.accept(p.b)
		p.recv(r)
		p.run(time.Second)
		lost := false
		p.a.filter = func(_ uint64, _ []byte) bool {
			was := lost
			lost = true
			return !was
		}
		p.send1(f, []byte("lost"))
		p.flush(p.a)
		for range 5 {
			p.send1(f, []byte("next"))
		}
		start := p.now
		first := p.recv(r)
		if d := p.now.Sub(start); (d <= 10*time.Millisecond) != (o == Arrival) {
			t.Errorf("order %v: message %d came after %v", o, first.Seq, d)
		}
		seen := map[uint64]bool{first.Seq: true}
		for range 5 {
			seen[p.recv(r).Seq] = true
		}
		if len(seen) != 6 {
			t.Errorf("order %v: messages %v, want each once", o, seen)
		}
	}
}

// TestSetOrderingAfterPassedGaps makes nothing late that was missing before the order changed.
func TestSetOrderingAfterPassedGaps(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	r.SetMaxWait(time.Second)
	f.m.collect()
	f.whole(2)
	f.at(time.Second)
	wantNumbers(t, r, "the gap is passed", 2)
	r.SetOrdering(Arrival)
	f.m.collect()
	r.SetOrdering(Ordered)
	f.m.collect()
	f.whole(1)
	wantNumbers(t, r, "in order again, the first is missing")
	f.whole(0)
	msgs, _ := take(r)
	if got := numbers(msgs); !slices.Equal(got, []uint64{0, 1}) || msgs[0].Late || msgs[1].Late {
		t.Errorf("got %v, want 0 and 1, neither late", msgs)
	}
}
