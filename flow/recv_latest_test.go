// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// one is the credit of a message of one byte.
const one = wire.MessageCost + 1

// latest opens a flow on which only the newest message counts.
func (f *feed) latest() *Receiver {
	f.t.Helper()
	f.must(open(0))
	r := f.accept()
	r.SetOrdering(Latest)
	f.m.collect()
	return r
}

// TestLatest hands over the newest message, frees what the older ones used, and takes account of what they go on using.
func TestLatest(t *testing.T) {
	f := newFeed(t, Config{})
	r := f.latest()
	f.whole(1, 2, 3)
	f.wantBalance(r, 3*one, one) // 3, which is at hand
	wantNumbers(t, r, "three at hand", 3)
	f.whole(2, 0)
	wantNumbers(t, r, "older and a repetition")
	f.must(data(0, 4, 0, 10, false), data(0, 5, 20, 10, true))
	f.wantBalance(r, 4*one+2*wire.MessageCost+40, 2*wire.MessageCost+40)
	f.whole(6)
	f.wantBalance(r, 5*one+2*wire.MessageCost+40, wire.MessageCost+one) // 5 has its end, 4 has not
	f.must(data(0, 4, 50, 50, true))
	f.wantBalance(r, 5*one+2*wire.MessageCost+130, one)
	wantNumbers(t, r, "the rest of one that is outdated", 6)
	f.must(data(0, 8, 0, 10, false))
	f.whole(10)
	f.must(skip(0, 7, wire.MessageCost+5, wire.MessageCost+30, 0))
	f.must(ints(wire.ChunkFlowEnd, 0, 11, r.used))
	f.wantBalance(r, 6*one+4*wire.MessageCost+165, one)
	if msg, err := r.Recv(over); err != nil || msg.Seq != 10 {
		t.Errorf("Recv after the end = %d, %v, want message 10", msg.Seq, err)
	}
	if _, err := r.Recv(over); err != io.EOF {
		t.Errorf("Recv: %v, want io.EOF", err)
	}
	f.wantBalance(r, r.used, 0)
	if s := r.Stats(); s.Messages != 3 || s.Bytes != 3 || s.Outdated != 5 || s.Skipped != 3 {
		t.Errorf("%+v, want 3 messages of one byte, 5 outdated, 3 skipped", s)
	}
}

// TestLatestAfterAbort keeps the newest message and gives back what is missing of older ones.
func TestLatestAfterAbort(t *testing.T) {
	f := newFeed(t, Config{})
	r := f.latest()
	f.must(data(0, 0, 0, 10, false))
	f.whole(1)
	f.must(data(0, 2, 0, 10, false), ints(wire.ChunkFlowAbort, 0, 7, 1000))
	wantNumbers(t, r, "at hand", 1)
	var aborted *AbortedError
	if _, err := r.Recv(over); !errors.As(err, &aborted) {
		t.Errorf("Recv: %v, want an AbortedError", err)
	}
	f.wantBalance(r, 1000, 0)
}

// TestSetOrderingLatest changes the order to and from Latest.
func TestSetOrderingLatest(t *testing.T) {
	for _, from := range []Ordering{Ordered, Arrival} {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			f := newFeed(t, Config{})
			f.must(open(0))
			r := f.accept()
			r.SetOrdering(from)
			f.m.collect()
			f.whole(0, 1, 2, 5, 4)
			f.must(data(0, 3, 0, 10, false))
			r.SetOrdering(Latest)
			newest := map[Ordering]uint64{Ordered: 2, Arrival: 5}[from] // 5 waits behind 3 if in order
			wantNumbers(t, r, "at once", newest)
			f.m.collect()
			if from == Ordered {
				wantNumbers(t, r, "what waited behind a gap", 5)
			}
			f.whole(8)
			// What was outdated stays so, though 3, 6 and 7 arrive now; what is newer comes as the new order says.
			for _, to := range []Ordering{Ordered, Arrival} {
				r.SetOrdering(to)
				f.m.collect()
				f.must(data(0, 3, 10, 10, true))
				f.whole(6, 7)
				if to == Ordered {
					wantNumbers(t, r, "the newest is still at hand", 8)
					f.whole(10)
					wantNumbers(t, r, "9 is missing")
					f.whole(9)
				}
			}
			wantNumbers(t, r, "after the gap", 9, 10)
			f.must(ints(wire.ChunkFlowEnd, 0, 11, r.used))
			if _, err := r.Recv(over); err != io.EOF {
				t.Errorf("Recv: %v, want io.EOF", err)
			}
			f.wantBalance(r, r.used, 0)
			if s := r.Stats(); s.Messages+s.Outdated != 11 {
				t.Errorf("%+v, want 11 messages in all", s)
			}
		})
	}
}

// TestLatestAfterReadingOlder does not go back behind what has been read.
func TestLatestAfterReadingOlder(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	r.SetOrdering(Arrival)
	f.m.collect()
	f.whole(7, 5)
	if msg, err := r.Recv(over); err != nil || msg.Seq != 7 {
		t.Fatalf("Recv = %d, %v, want message 7", msg.Seq, err)
	}
	r.SetOrdering(Latest)
	wantNumbers(t, r, "5 is older than what has been read")
	f.whole(6) // before the loop knows
	f.m.collect()
	f.whole(4)
	wantNumbers(t, r, "and so are 4 and 6")
	f.wantBalance(r, 4*one, 0)
	f.whole(8)
	wantNumbers(t, r, "newer", 8)
}

// TestLatestAtTheEnd changes the order of what is left when nothing more comes.
func TestLatestAtTheEnd(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	f.whole(0, 1, 2)
	f.must(ints(wire.ChunkFlowEnd, 0, 3, 3*one))
	r.SetOrdering(Latest)
	wantNumbers(t, r, "the end is here", 2)
	if s := r.Stats(); s.Messages != 1 || s.Outdated != 2 {
		t.Errorf("%+v, want one message and 2 outdated", s)
	}
	f.wantBalance(r, 3*one, 0)
	if f.m.retired != 1 {
		t.Error("the flow keeps its place after the end")
	}
}

// TestLatestWhileReading changes the order while a message of several parts is read: it is not cut off.
func TestLatestWhileReading(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	f.parts(0, "a", "b")
	mr, err := r.NextReader(over)
	if err != nil {
		t.Fatal(err)
	}
	r.SetOrdering(Latest)
	f.m.collect()
	if _, err := r.NextReader(over); !errors.Is(err, errReaderOrder) {
		t.Errorf("NextReader: %v, want %v", err, errReaderOrder)
	}
	f.whole(2, 3)
	if got, err := io.ReadAll(mr); string(got) != "ab" || err != nil {
		t.Errorf("read %q, %v, want ab", got, err)
	}
	f.m.collect()
	wantNumbers(t, r, "after the message", 3)

	// The same, with the message cut off by its sender.
	f = newFeed(t, Config{})
	f.must(open(0))
	r = f.accept()
	d := wire.FlowData{End: true, More: true, Data: []byte("a")}
	f.must(d.Append(nil))
	if mr, err = r.NextReader(over); err != nil {
		t.Fatal(err)
	}
	r.SetOrdering(Latest)
	f.m.collect()
	f.whole(2, 3)
	f.must(skip(0, 1, 0))
	if got, err := io.ReadAll(mr); string(got) != "a" || !errors.Is(err, ErrAbandoned) {
		t.Errorf("read %q, %v, want a and %v", got, err, ErrAbandoned)
	}
	f.m.collect()
	wantNumbers(t, r, "after the message that was cut off", 3)
}

// TestLatestForASlowReader sends the state of a game sixty times a second through loss to a reader that looks at it four
// times a second: what it sees is no older than the way and one repetition take, nothing stops the sender, and every
// message is Delivered.
func TestLatestForASlowReader(t *testing.T) {
	p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow, MaxRecvWindow: 1})
	p.eachLink(func(l *link) { l.delay, l.loss = 20*time.Millisecond, 0.05 })
	f := p.open(p.a, "game", &Options{Priority: Urgent})
	state := make([]byte, 3000)
	p.send1(f, state)
	r := p.accept(p.b)
	r.SetOrdering(Latest)
	var receipts []*Receipt
	sent, last, reads := 1, -1, 0
	for tick := range 600 {
		receipt, err := f.TrySend(state)
		if err != nil {
			t.Fatalf("message %d: %v, want a sender that nobody stops", sent, err)
		}
		receipts = append(receipts, receipt)
		sent++
		p.run(time.Second / 60)
		if tick%15 != 14 {
			continue
		}
		msg, err := r.Recv(over)
		if err != nil {
			t.Fatalf("after message %d: %v", sent, err)
		}
		if age := sent - int(msg.Seq); int(msg.Seq) <= last || age > 12 {
			t.Errorf("message %d after %d, %d ticks old, want a newer one of the last 12", msg.Seq, last, age)
		}
		last = int(msg.Seq)
		msg.Release()
		reads++
		if s := r.Stats(); s.AtHand != 0 || s.Buffered > 5*3100 {
			t.Errorf("%+v, want nothing but the messages on their way", s)
		}
	}
	p.run(time.Second)
	if msg := p.recv(r); int(msg.Seq) != sent-1 {
		t.Errorf("message %d in the end, want the last, %d", msg.Seq, sent-1)
	}
	if err := p.closeFlow(f); err != nil {
		t.Error(err)
	}
	p.wantEOF(r)
	for i, receipt := range receipts {
		if receipt.Outcome() != Delivered {
			t.Fatalf("message %d is %v, want Delivered", i+1, receipt.Outcome())
		}
	}
	if s := r.Stats(); s.Messages != uint64(reads+1) || s.Outdated != uint64(sent-reads-1) {
		t.Errorf("%+v, want %d messages read and the other %d outdated", s, reads+1, sent-reads-1)
	}
}

// TestLatestAcrossFarNumbers keeps the work for each message small when incomplete ones pile up far apart, as no honest
// sender has them, and holds no more than they have paid for.
func TestLatestAcrossFarNumbers(t *testing.T) {
	f := newFeed(t, Config{})
	r := f.latest()
	for n := range uint64(500) {
		f.must(data(0, n<<20, 0, 60, false))
		f.whole(n<<20 + 1)
	}
	wantNumbers(t, r, "the newest", 499<<20+1)
	f.wantBalance(r, 500*(one+wire.MessageCost+60), 500*wire.MessageCost)
	if r.table.n != 500 || f.m.ahead != 0 {
		t.Errorf("%d messages in the table, %d bytes ahead, want 500 and none", r.table.n, f.m.ahead)
	}
	for n := range uint64(500) {
		f.must(data(0, n<<20, 60, 1, true))
	}
	f.wantBalance(r, 500*(one+wire.MessageCost+61), 0)
}

// TestLatestGrantsUnread has the sender go on after a packet that used up the window with messages nobody has read.
func TestLatestGrantsUnread(t *testing.T) {
	f := newFeed(t, Config{RecvWindow: wire.InitialFlowWindow, MaxRecvWindow: 1})
	r := f.latest()
	f.must(data(0, 0, 0, 30_000, true), data(0, 1, 0, 30_000, true))
	if want := uint64(wire.InitialFlowWindow + 30_000 + wire.MessageCost); r.granted != want {
		t.Errorf("%d granted after a message that is outdated, want %d", r.granted, want)
	}
	wantNumbers(t, r, "the second", 1)
}
