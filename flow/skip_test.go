// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// take returns what is at hand of a flow.
func take(r *Receiver) (msgs []Message, err error) {
	for {
		msg, err := r.Recv(over)
		if err != nil {
			return msgs, err
		}
		msgs = append(msgs, msg)
	}
}

// numbers returns the numbers of messages.
func numbers(msgs []Message) (n []uint64) {
	for i := range msgs {
		n = append(n, msgs[i].Seq)
	}
	return n
}

// accept returns the flow that has been opened.
func (f *feed) accept() *Receiver {
	f.t.Helper()
	r, err := f.m.Accept(over)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// must handles chunks that are legal.
func (f *feed) must(chunks ...[]byte) {
	f.t.Helper()
	if err := f.chunks(chunks...); err != nil {
		f.t.Fatal(err)
	}
}

// wantBalance checks how much credit a flow, the only one, has used and how much of it is held.
func (f *feed) wantBalance(r *Receiver, used, held uint64) {
	f.t.Helper()
	f.m.collect()
	if r.used != used || f.m.recvUsed != used {
		f.t.Errorf("credit used: flow %d, session %d, want %d", r.used, f.m.recvUsed, used)
	}
	if got := f.m.recvUsed - f.m.recvConsumed - f.m.readBytes.Load(); got != held {
		f.t.Errorf("%d of credit held, want %d", got, held)
	}
}

// TestSkip abandons messages on the sender's behalf: the receiver skips them and their credit comes back.
func TestSkip(t *testing.T) {
	const cost = wire.MessageCost
	f := newFeed(t, Config{})
	f.must(open(0), data(0, 0, 0, 10, true),
		// 1 is never seen, 2 is complete, 3 is in part, 4 is complete, 5 is in part
		data(0, 2, 0, 10, true), data(0, 3, 5, 5, false), data(0, 4, 0, 10, true), data(0, 5, 0, 7, false))
	r := f.accept()
	skips := skip(0, 0, cost+10, cost+100, cost+10, cost+20) // 0 and 2 are ignored
	f.must(skips, skips, data(0, 3, 0, 5, true), data(0, 1, 0, 100, true))
	msgs, _ := take(r)
	if got := numbers(msgs); !slices.Equal(got, []uint64{0, 2, 4}) {
		t.Errorf("got messages %v, want 0, 2, 4", got)
	}
	used := uint64(6*cost + 10 + 100 + 10 + 20 + 10 + 7)
	f.wantBalance(r, used, cost+7)
	f.must(data(0, 5, 7, 3, true), skip(0, 6, 0, 0, 0), ints(wire.ChunkFlowEnd, 0, 9, used+3))
	msgs, err := take(r)
	if got := numbers(msgs); !slices.Equal(got, []uint64{5}) || err != io.EOF {
		t.Errorf("got messages %v and %v, want 5 and io.EOF", got, err)
	}
	f.wantBalance(r, used+3, 0)
	if s := r.Stats(); s.Skipped != 5 || s.Messages != 4 || s.Bytes != 40 || s.Buffered != 0 || s.Duplicate != 105 {
		t.Errorf("stats %+v, want 5 skipped, 4 messages of 40 bytes, none held, 105 bytes again", s)
	}
}

// TestSkipBeforeData lets skips overtake everything else of their flow.
func TestSkipBeforeData(t *testing.T) {
	const cost = wire.MessageCost
	f := newFeed(t, Config{})
	f.must(open(0), skip(0, 1, cost+50, 0), ints(wire.ChunkFlowEnd, 0, 4, 3*cost+50+7+9), data(0, 1, 0, 50, false))
	r := f.accept()
	f.wantBalance(r, cost+50, 0)
	f.must(data(0, 3, 0, 9, true), data(0, 0, 0, 7, true), skip(0, 0, cost+7, cost+50, 0, cost+9))
	msgs, err := take(r)
	if got := numbers(msgs); !slices.Equal(got, []uint64{0, 3}) || err != io.EOF {
		t.Errorf("got messages %v and %v, want 0, 3 and io.EOF", got, err)
	}
	f.wantBalance(r, 3*cost+50+7+9, 0)
}

// TestSkipThenAbort checks totals when a flow with skips is aborted or refused.
func TestSkipThenAbort(t *testing.T) {
	const cost = wire.MessageCost
	for _, refuse := range []bool{false, true} {
		f := newFeed(t, Config{})
		f.must(open(0), skip(0, 1, cost+50), data(0, 2, 0, 30, true), data(0, 3, 0, 30, false))
		r := f.accept()
		if refuse {
			r.Reject(1)
			f.m.collect()
			f.must(skip(0, 3, cost+30), data(0, 4, 0, 1, true))
		}
		f.must(ints(wire.ChunkFlowAbort, 0, 9, 5*cost+200))
		var aborted *AbortedError
		if _, err := take(r); !errors.As(err, &aborted) && !refuse {
			t.Errorf("Recv: %v, want an AbortedError", err)
		}
		f.wantBalance(r, 5*cost+200, 0)
		if f.m.pieces != 0 || f.m.ahead != 0 {
			t.Errorf("%d pieces and %d bytes remembered of a flow that is over", f.m.pieces, f.m.ahead)
		}
	}
}

// TestSkipsAreBounded skips messages that were never sent, which costs the peer nothing.
func TestSkipsAreBounded(t *testing.T) {
	many := make([]uint64, 1000)
	f := newFeed(t, Config{})
	f.must(open(0))
	for first := uint64(1); first < 1_000_000; first += uint64(len(many)) {
		f.must(skip(0, first, many...))
	}
	r := f.accept()
	if len(r.gone) != 1 || len(r.table.ring) > 0 || len(r.table.sparse) > 0 {
		t.Errorf("%d ranges, %d and %d slots after a million skips in a row", len(r.gone), len(r.table.ring), len(r.table.sparse))
	}
	for _, far := range []uint64{2, 1 << 40} {
		for _, ordering := range []Ordering{Ordered, Arrival} {
			f := newFeed(t, Config{})
			f.must(open(0))
			f.accept().SetOrdering(ordering)
			f.m.collect()
			var err error
			n := uint64(0)
			for ; err == nil && n < 200_000; n++ {
				err = f.chunks(skip(0, far+2*n, 0))
			}
			var pe *wire.ProtocolError
			if !errors.As(err, &pe) || pe.Code != wire.CodeFlowControl || n > maxPieces+1 {
				t.Errorf("every second message skipped: %v after %d, want a limit of %d", err, n, maxPieces)
			}
		}
	}
}

// TestSparseNumbers sends messages whose numbers are far apart: what they take must go by their number only.
func TestSparseNumbers(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	var used uint64
	for n := uint64(1); n < 900; n++ {
		f.must(data(0, n<<40, 0, 1, true))
		used += wire.MessageCost + 1
	}
	if len(r.table.ring) > 64 || r.table.n != 899 {
		t.Errorf("%d slots for %d messages", len(r.table.ring), r.table.n)
	}
	f.must(ints(wire.ChunkFlowAbort, 0, 0, used))
	f.wantBalance(r, used, 0)
}

// TestArrivalGapsAreBounded has every second message missing in a flow that is read in order of arrival, so that its
// credit comes back.
func TestArrivalGapsAreBounded(t *testing.T) {
	f := newFeed(t, Config{})
	f.must(open(0))
	r := f.accept()
	r.SetOrdering(Arrival)
	var err error
	n := uint64(0)
	for ; err == nil && n < 200_000; n++ {
		err = f.chunks(data(0, 2*n+1, 0, 1, true))
		_, _ = take(r)
		f.m.collect()
	}
	var pe *wire.ProtocolError
	if !errors.As(err, &pe) || n > maxPieces+1 {
		t.Errorf("%v after %d messages with gaps, want a limit of %d", err, n, maxPieces)
	}
}
