// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// eachOpen calls f for every FLOW_OPEN in a payload.
func eachOpen(t *testing.T, payload []byte, f func(o *wire.FlowOpen)) {
	t.Helper()
	for len(payload) > 0 {
		typ, body, rest, err := wire.NextChunk(payload)
		if err != nil {
			t.Fatal(err)
		}
		if typ == wire.ChunkFlowOpen {
			o, err := wire.ParseFlowOpen(body)
			if err != nil {
				t.Fatal(err)
			}
			f(&o)
		}
		payload = rest
	}
}

// TestMetadataSizes: metadata of 0 to 512 bytes arrives with the flow, once, whichever of the first packets are lost; one
// byte more is refused before anything is sent. RFC 7016 §2.3.11.1.1.
func TestMetadataSizes(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512} {
		for lost := range 4 {
			p := newPair(t, Config{}, Config{})
			sent := 0
			p.a.filter = func(uint64, []byte) bool { sent++; return sent <= lost }
			want := pattern(n, byte(n))
			f := p.open(p.a, "meta", &Options{Metadata: want})
			p.send1(f, pattern(3000, 1))
			p.send1(f, nil)
			r := p.accept(p.b)
			if !bytes.Equal(r.Metadata(), want) || r.Label() != "meta" {
				t.Errorf("%d bytes, %d packets lost: %d bytes arrived, or others", n, lost, len(r.Metadata()))
			}
			for i := range 2 {
				if msg := p.recv(r); msg.Seq != uint64(i) {
					t.Errorf("message %d, want %d", msg.Seq, i)
				}
			}
			p.run(time.Second)
			if again, err := p.b.m.Accept(over); err == nil {
				t.Errorf("the flow came twice, the second time with %d bytes", len(again.Metadata()))
			}
		}
	}
	p := newPair(t, Config{}, Config{})
	if f, err := p.a.m.Open("meta", &Options{Metadata: make([]byte, 513)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("513 bytes: %v, %v, want ErrTooLarge", f, err)
	}
	p.run(time.Second)
	if p.a.m.Stats().OutgoingFlows != 0 {
		t.Error("a flow that could not be opened exists")
	}
}

// TestNumbersAreNotReused opens and closes flows, thousands over one session, over a path that loses, doubles and
// reorders. No number is ever said of two flows, what is repeated after a flow's end opens nothing, and nothing is left.
// RFC 7016 §3.6.2.11 needs a time of lingering for that.
func TestNumbersAreNotReused(t *testing.T) {
	const n, late = 4000, 200 // so many old packets are repeated at the end
	p := newPair(t, Config{}, Config{MaxIncomingFlows: 128})
	p.eachLink(func(l *link) { l.loss, l.dup, l.jitter = 0.02, 0.05, 5*ms })
	names := make(map[uint64]string)
	var old [][]byte
	p.a.filter = func(_ uint64, payload []byte) bool {
		eachOpen(t, payload, func(o *wire.FlowOpen) {
			if was, ok := names[o.Flow]; ok && was != string(o.Label) {
				t.Errorf("flow %d is %q and was %q", o.Flow, o.Label, was)
			}
			names[o.Flow] = string(o.Label)
		})
		if len(old) < late && p.rand.IntN(5) == 0 {
			old = append(old, bytes.Clone(payload))
		}
		return false
	}
	seen := make(map[string]int)
	opened := 0
	var reading []*Receiver
	p.until(time.Hour, "all flows have come and gone", func() bool {
		for opened < n && p.a.m.Stats().OutgoingFlows < 150 {
			f := p.open(p.a, fmt.Sprint(opened), nil)
			p.send1(f, pattern(opened%50, byte(opened)))
			_ = f.Close(over)
			opened++
			if opened%100 == 0 {
				break
			}
		}
		for r, err := p.b.m.Accept(over); err == nil; r, err = p.b.m.Accept(over) {
			seen[r.Label()]++
			reading = append(reading, r)
		}
		keep := reading[:0]
		for _, r := range reading {
			if _, err := take(r); err != io.EOF {
				keep = append(keep, r)
			}
		}
		reading = keep
		return opened == n && len(seen) == n && len(reading) == 0
	})
	for label, times := range seen {
		if times != 1 {
			t.Errorf("flow %s came %d times", label, times)
		}
	}
	p.run(10 * time.Second)
	accepted := p.b.m.Stats().FlowsAccepted
	for _, payload := range old {
		// Authentic and in a new packet, as a sender out of its mind would do it; but its acknowledgements are old news.
		for b := payload; len(b) > 0; {
			typ, body, rest, _ := wire.NextChunk(b)
			if typ.IsFlow() {
				if err := p.b.m.HandleChunk(p.now, typ, body); err != nil {
					t.Fatalf("%v again: %v", typ, err)
				}
			}
			b = rest
		}
	}
	if again := p.b.m.Stats().FlowsAccepted; again != accepted || len(names) != n {
		t.Errorf("%d flows came of old packets, and %d numbers were used for %d flows", again-accepted, len(names), n)
	}
	p.wantNoLeak()
	if k := len(p.b.m.finished); k > 1 {
		t.Errorf("%d ranges of numbers are remembered, want one", k)
	}
}

// TestCloseWithDataQueued: what was queued before Close arrives before the end, over a bad path.
func TestCloseWithDataQueued(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.loss = 0.1 })
	f := p.open(p.a, "", &Options{SendBuffer: 1 << 22})
	var receipts []*Receipt
	for i := range 300 {
		receipts = append(receipts, p.send1(f, pattern(i*10, byte(i))))
	}
	if err := f.Close(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v with everything still queued, want to wait", err)
	}
	if _, err := f.TrySend(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("TrySend after Close: %v, want ErrClosed", err)
	}
	msgs, err := p.recvErr(p.accept(p.b))
	if err := p.closeFlow(f); err != nil {
		t.Errorf("Close: %v, want nil once all has arrived", err)
	}
	for i, r := range receipts {
		if r.Outcome() != Delivered {
			t.Errorf("message %d: %v when Close has returned", i, r.Outcome())
		}
	}
	if len(msgs) != 300 || err != io.EOF {
		t.Errorf("%d messages and %v, want 300 and io.EOF", len(msgs), err)
	}
	for i, msg := range msgs {
		if !bytes.Equal(msg.Data, pattern(i*10, byte(i))) {
			t.Fatalf("message %d changed", i)
		}
	}
	p.run(time.Second)
	p.wantNoLeak()
}

// TestFarCloseWithUnreadData: a sender that closes leaves what has arrived to be read; a receiver that rejects, or whose
// flow is aborted, gives the credit of what it has not read back, so that others go on.
func TestFarCloseWithUnreadData(t *testing.T) {
	for _, end := range []string{"close", "reject", "abort"} {
		t.Run(end, func(t *testing.T) {
			p := newPair(t, Config{}, Config{})
			f, other := p.open(p.a, "f", &Options{SendBuffer: 1 << 22}), p.open(p.a, "other", nil)
			const n = 50
			for i := range n {
				p.send1(f, pattern(1000, byte(i)))
			}
			r := p.accept(p.b)
			p.run(200 * ms)
			want, wantErr := n, io.EOF
			switch end {
			case "close":
				if err := p.closeFlow(f); err != nil {
					t.Errorf("Close: %v, want nil: the peer has everything, read or not", err)
				}
			case "reject":
				r.Reject(7)
				want, wantErr = 0, ErrClosed
			case "abort":
				f.Abort(8)
				wantErr = &AbortedError{8}
			}
			p.run(time.Second)
			msgs, err := take(r)
			if aborted := (*AbortedError)(nil); len(msgs) != want || err != wantErr && !errors.As(err, &aborted) {
				t.Errorf("%d messages and %v, want %d and %v", len(msgs), err, want, wantErr)
			}
			p.send1(other, []byte("goes on"))
			ro := p.accept(p.b)
			p.recv(ro)
			if err := p.closeFlow(other); err != nil {
				t.Error(err)
			}
			p.wantEOF(ro)
			p.run(time.Second)
			p.wantNoLeak()
		})
	}
}

// TestHoldAndResume: a reader that stops stops its flow at the window; one that goes on gets everything, in order, and
// the other flow never notices. RFC 7016 §3.6.3.5.
func TestHoldAndResume(t *testing.T) {
	p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
	p.eachLink(func(l *link) { l.loss = 0.02 })
	f, g := p.open(p.a, "held", &Options{SendBuffer: 1 << 20}), p.open(p.a, "free", nil)
	p.send1(f, nil)
	p.send1(g, nil)
	rf, rg := p.accept(p.b), p.accept(p.b)
	if rf.Label() != "held" {
		rf, rg = rg, rf
	}
	p.recv(rf)
	p.recv(rg)
	next, queued := uint64(1), 1
	for range 6 {
		for queued-int(next) < 400 {
			p.send1(f, pattern(500, byte(queued)))
			queued++
		}
		p.run(400 * ms)
		if st := rf.Stats(); st.Used > st.Granted || st.Buffered > st.Window+500+wire.MessageCost {
			t.Fatalf("%+v, want no more held than the window", st)
		}
		start := p.now
		p.send1(g, []byte("free"))
		p.recv(rg)
		if d := p.now.Sub(start); d > 300*ms {
			t.Errorf("the other flow took %v beside the held one", d)
		}
		for range 200 {
			if msg := p.recv(rf); msg.Seq != next || !bytes.Equal(msg.Data, pattern(500, byte(next))) {
				t.Fatalf("message %d after the hold, want %d", msg.Seq, next)
			}
			next++
		}
	}
	if p.a.m.Stats().Blocked == 0 {
		t.Error("the flow was never held")
	}
}

// TestGrantsNeverShrink: grants that arrive out of order, or that shrink, take nothing back.
func TestGrantsNeverShrink(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, nil)
	p.run(time.Second)
	now := func() [4]uint64 {
		return [4]uint64{f.flowLimit, p.a.m.sendLimit, p.a.m.peerFlows, uint64(p.a.m.maxMessage())}
	}
	message := uint64(p.b.m.config.maxMessage())
	grow := func(n uint64) {
		for _, b := range [][]byte{
			ints(wire.ChunkFlowWindow, 0, 1<<20+n), ints(wire.ChunkSessionLimits, 1<<26+n, 20_000+n, message),
		} {
			typ, body, _, _ := wire.NextChunk(b)
			if err := p.a.m.HandleChunk(p.now, typ, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	grow(500)
	most := now()
	for _, n := range []uint64{0, 499, 100} {
		if grow(n); now() != most {
			t.Errorf("limits are %v after smaller grants, want %v still", now(), most)
		}
	}
	if grow(501); now()[0] != most[0]+1 || now()[1] != most[1]+1 || now()[2] != most[2]+1 {
		t.Errorf("limits are %v after larger grants, were %v", now(), most)
	}
}

// TestZeroWindow: the window is full, and what reopens it is lost, once or many times over. The flow resumes within the
// longest time between two reminders of the path's return. RFC 7016 §3.6.2.9.1.
func TestZeroWindow(t *testing.T) {
	const between = 5 * time.Second // docs/PROTOCOL.md §9
	for _, outage := range []time.Duration{50 * ms, time.Second, 7 * time.Second, 40 * time.Second} {
		p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
		f := p.open(p.a, "", &Options{SendBuffer: 1 << 20})
		for i := range 150 {
			p.send1(f, pattern(1000, byte(i)))
		}
		r := p.accept(p.b)
		p.run(time.Second)
		used := r.Stats().Used
		if left := r.Stats().Granted - used; left > 1000+wire.MessageCost {
			t.Fatalf("%d of credit left, want none", left)
		}
		p.b.filter = func(uint64, []byte) bool { return true }
		first, _ := take(r)
		p.run(outage)
		p.b.filter = nil
		start := p.now
		p.until(between+100*ms, fmt.Sprintf("the flow resumes after an outage of %v", outage), func() bool {
			return r.Stats().Used > used
		})
		t.Logf("outage of %v: resumed after %v more", outage, p.now.Sub(start))
		for i := len(first); i < 150; i++ {
			if msg := p.recv(r); msg.Seq != uint64(i) {
				t.Fatalf("message %d, want %d", msg.Seq, i)
			}
		}
	}
}

// TestTreeOfAnswers: flows that answer flows that answer flows, ten deep, each given to whoever opened the one it answers;
// and answers to what was never opened, or is over, are rejected. RFC 7016 §3.6.1.1.
func TestTreeOfAnswers(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.loss = 0.05 })
	sides := []*side{p.a, p.b}
	root := p.open(p.a, "0", &Options{Returns: 2})
	senders := []*Sender{root}
	p.send1(root, []byte("0"))
	at := p.accept(p.b)
	for depth := 1; depth <= 10; depth++ {
		s := sides[depth%2]
		f := p.open(s, fmt.Sprint(depth), &Options{Answers: at, Returns: 2})
		p.send1(f, fmt.Append(nil, depth))
		parent := senders[depth-1]
		p.until(time.Minute, "the answer arrives", func() bool {
			var err error
			at, err = parent.AcceptReturn(over)
			return err == nil
		})
		if msg := p.recv(at); at.Label() != fmt.Sprint(depth) || string(msg.Data) != fmt.Sprint(depth) {
			t.Fatalf("answer %q with %q at depth %d", at.Label(), msg.Data, depth)
		}
		if other, err := s.peer.m.Accept(over); err == nil {
			t.Fatalf("an answer came as flow %q of its own", other.Label())
		}
		senders = append(senders, f)
	}
	for _, f := range senders { // the tree does not fall when a node does
		if err := f.Close(over); err != nil && f.failed {
			t.Error(err)
		}
		f.RefuseReturns()
	}
	p.run(10 * time.Second)

	unknown := newFeed(t, Config{})
	mine, err := unknown.m.Open("", &Options{Returns: 1})
	if err != nil {
		t.Fatal(err)
	}
	mine.Announce()
	unknown.m.Append(epoch, 0, nil, 1171)
	for i, answers := range []uint64{7, 0, 0} { // never opened; ours; ours, which expects no more
		open := wire.FlowOpen{Flow: uint64(i), HasAnswers: true, Answers: answers}
		unknown.must(open.Append(nil), data(uint64(i), 0, 0, 1, true))
	}
	rejected := map[uint64]uint64{}
	for b := unknown.m.Append(epoch, 1, nil, 1171); len(b) > 0; {
		typ, body, rest, _ := wire.NextChunk(b)
		if typ == wire.ChunkFlowReject {
			var id, code uint64
			_ = wire.ParseInts(body, &id, &code)
			rejected[id] = code
		}
		b = rest
	}
	if len(rejected) != 2 || rejected[0] != uint64(wire.CodeFlowAnswer) || rejected[2] != uint64(wire.CodeFlowAnswer) {
		t.Errorf("rejections %x, want flows 0 and 2 with %#x", rejected, uint64(wire.CodeFlowAnswer))
	}
	if r, err := mine.AcceptReturn(over); err != nil || r.id != 1 {
		t.Errorf("AcceptReturn: %v, %v, want flow 1", r, err)
	}
}
