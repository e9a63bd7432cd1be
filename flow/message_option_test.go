// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// eachData calls f for every fragment in a payload.
func eachData(t *testing.T, payload []byte, f func(d *wire.FlowData)) {
	t.Helper()
	for len(payload) > 0 {
		typ, body, rest, err := wire.NextChunk(payload)
		if err != nil {
			t.Fatalf("bad packet: %v", err)
		}
		if typ.IsFlowData() {
			d, err := wire.ParseFlowData(typ, body)
			if err != nil {
				t.Fatalf("bad fragment: %v", err)
			}
			f(&d)
		}
		payload = rest
	}
}

// TestDeadlinesUnderLoss sends a stream of messages with deadlines over a slow path that loses packets. Nothing is begun
// after StartWithin, nothing sent after FinishWithin, every receipt tells the truth, and the receiver never waits.
func TestDeadlinesUnderLoss(t *testing.T) {
	for _, loss := range []float64{0, 0.01, 0.1, 0.3} {
		t.Run(fmt.Sprintf("loss=%v", loss), func(t *testing.T) {
			const startWithin, finishWithin, count = 50 * time.Millisecond, 120 * time.Millisecond, 600
			p := newPair(t, Config{}, Config{})
			p.eachLink(func(l *link) { l.loss, l.jitter = loss, 2*time.Millisecond })
			p.a.link.rate, p.a.link.queue = 400_000, 20_000
			s := p.open(p.a, "video", &Options{StartWithin: startWithin, FinishWithin: finishWithin})
			queued := make(map[uint64]time.Time)
			begun := make(map[uint64]bool)
			p.a.filter = func(_ uint64, payload []byte) bool {
				eachData(t, payload, func(d *wire.FlowData) {
					age := p.now.Sub(queued[d.Seq])
					if !begun[d.Seq] && age >= startWithin {
						t.Errorf("message %d is begun after %v", d.Seq, age)
					}
					begun[d.Seq] = true
					if age >= finishWithin {
						t.Errorf("some of message %d is sent after %v", d.Seq, age)
					}
				})
				return false
			}
			var receipts []*Receipt
			received := make(map[uint64]bool)
			var in *Receiver
			for range count {
				r, err := s.TrySend(pattern(3000, byte(len(receipts)))) // 600 kB/s, more than the path carries
				if err != nil {
					t.Fatal(err)
				}
				queued[r.Seq()] = p.now
				receipts = append(receipts, r)
				p.run(5 * time.Millisecond)
				if in == nil {
					in, _ = p.b.m.Accept(over)
				}
				for in != nil {
					msg, err := in.Recv(over)
					if err != nil {
						break
					}
					received[msg.Seq] = true
					if late := p.now.Sub(queued[msg.Seq]); late > 2*time.Second {
						t.Errorf("message %d is handed over after %v", msg.Seq, late)
					}
				}
			}
			p.run(finishWithin)
			var reasons [reasons]int
			for i, r := range receipts {
				if r.Outcome() == Pending {
					t.Fatalf("message %d is pending after its deadline", i)
				}
				reasons[r.Reason()]++
			}
			p.eachLink(func(l *link) { l.loss = 0 })
			if err := p.closeFlow(s); err != nil {
				t.Errorf("Close: %v", err)
			}
			msgs, _ := p.recvErr(in)
			for _, msg := range msgs {
				received[msg.Seq] = true
			}
			for i, r := range receipts {
				if r.Outcome() == Delivered && !received[uint64(i)] {
					t.Errorf("message %d is Delivered and was not received", i)
				}
			}
			p.run(time.Second)
			p.wantNoLeak()
			p.wantBalance()
			t.Logf("delivered %d, start deadline %d, finish deadline %d", reasons[NotAbandoned], reasons[StartDeadline],
				reasons[FinishDeadline])
			if reasons[NotAbandoned] == 0 || reasons[StartDeadline]+reasons[FinishDeadline] == 0 {
				t.Errorf("fates %v, want some delivered and some abandoned", reasons)
			}
		})
	}
}

// TestTransmits counts how often every byte is sent when nothing arrives for a while.
func TestTransmits(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		p := newPair(t, Config{}, Config{})
		s := p.open(p.a, "", nil)
		p.eachLink(func(l *link) { l.jitter = time.Millisecond })
		sent := make(map[[2]uint64]int)
		most := 0
		p.a.filter = func(_ uint64, payload []byte) (drop bool) {
			eachData(t, payload, func(d *wire.FlowData) {
				if d.Seq != 1 {
					return
				}
				drop = true
				for i := range d.Data {
					sent[[2]uint64{d.Seq, d.Offset + uint64(i)}]++
					most = max(most, sent[[2]uint64{d.Seq, d.Offset + uint64(i)}])
				}
			})
			return drop
		}
		first, _ := s.TrySend(nil)
		p.until(time.Minute, "the flow is open", func() bool { return first.Outcome() == Delivered })
		r, err := s.TrySend(pattern(4000, 1), Transmits(n))
		if err != nil {
			t.Fatal(err)
		}
		after, _ := s.TrySend([]byte("after"))
		p.until(time.Minute, "the fates are known", func() bool {
			return r.Outcome() != Pending && after.Outcome() != Pending
		})
		wantReason(t, r, TransmitLimit)
		wantReason(t, after, NotAbandoned)
		if most != n {
			t.Errorf("Transmits(%d): some byte was sent %d times", n, most)
		}
		if s.Stats().Abandoned[TransmitLimit] != 1 {
			t.Errorf("Transmits(%d): stats %+v, want one abandoned", n, s.Stats())
		}
	}
}

// TestChains abandons the first of a long chain, and of a wide tree; all of it goes, and nothing is left of it. Then
// the same is delivered, and nothing is left either.
func TestChains(t *testing.T) {
	const n = 100_000
	for _, wide := range []bool{false, true} {
		for _, deliver := range []bool{false, true} {
			p := newPair(t, Config{}, Config{})
			s := p.open(p.a, "", &Options{SendBuffer: 1 << 30})
			flow2 := p.open(p.a, "", nil)
			if !deliver {
				s.flowLimit = 0
			}
			first, err := s.TrySend(nil)
			if err != nil {
				t.Fatal(err)
			}
			prev := first
			receipts := []*Receipt{first}
			for range n {
				parent := prev
				if wide {
					parent = first
				}
				if prev, err = s.TrySend(nil, After(parent), After(nil)); err != nil {
					t.Fatal(err)
				}
				receipts = append(receipts, prev)
			}
			leaf, err := flow2.TrySend(nil, After(prev), After(first), StartWithin(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, leaf)
			if deliver {
				var in *Receiver
				p.until(time.Minute, "all is delivered", func() bool {
					if in == nil {
						in, _ = p.b.m.Accept(over)
					}
					for in != nil {
						if _, err := in.Recv(over); err != nil {
							break
						}
					}
					return prev.Outcome() != Pending && leaf.Outcome() != Pending
				})
			} else {
				p.a.m.collect()
				first.Abandon()
				p.a.m.collect()
				p.a.m.returnBuffers()
			}
			for i, r := range receipts {
				want := ParentAbandoned
				switch {
				case deliver:
					want = NotAbandoned
				case i == 0:
					want = Withdrawn
				}
				if r.Reason() != want || r.parents != nil || r.children != nil {
					t.Fatalf("wide %v, message %d: %v, ties %v %v, want %v and none", wide, i, r.Reason(), r.parents, r.children, want)
				}
			}
			if s.buffered+flow2.buffered != 0 {
				t.Errorf("%d bytes buffered at the end", s.buffered+flow2.buffered)
			}
			// What comes after it later dies at once, or is not concerned.
			late, err := flow2.TrySend(nil, After(leaf))
			if err != nil {
				t.Fatal(err)
			}
			p.a.m.collect()
			if deliver != (late.Reason() == NotAbandoned) {
				t.Errorf("deliver %v: a message after it: %v, %v", deliver, late.Outcome(), late.Reason())
			}
		}
	}
}

// TestAfterLimits checks what Send refuses.
func TestAfterLimits(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	a, b := p.open(p.a, "", nil), p.open(p.b, "", nil)
	foreign, err := b.TrySend(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.TrySend(nil, After(foreign)); !errors.Is(err, errForeignParent) {
		t.Errorf("after a message of another session: %v", err)
	}
	own, _ := a.TrySend(nil)
	if _, err := a.TrySend(nil, After(own), After(own), After(own), After(own)); err != nil {
		t.Errorf("after four messages: %v", err)
	}
	if _, err := a.TrySend(nil, After(own), After(own), After(own), After(own), After(own)); !errors.Is(err, errManyParents) {
		t.Errorf("after five messages: %v", err)
	}
	p.run(time.Second)
}

// TestSupersede replaces states faster than the path carries them.
func TestSupersede(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.a.link.rate, p.a.link.queue = 100_000, 3000
	s := p.open(p.a, "state", nil)
	var receipts []*Receipt
	for i := range 400 {
		r, err := s.TrySend(pattern(2500, byte(i)), Supersede(uint64(i%2)))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
		p.run(5 * time.Millisecond)
		if open := s.msgs.len(); open > 120 {
			t.Fatalf("%d messages are remembered after %d, though only the newest two matter", open, i)
		}
	}
	p.run(5 * time.Second)
	var reasons [reasons]int
	for _, r := range receipts {
		reasons[r.Reason()]++
	}
	t.Logf("%d delivered, %d superseded", reasons[NotAbandoned], reasons[Superseded])
	if reasons[NotAbandoned]+reasons[Superseded] != 400 || reasons[NotAbandoned] < 30 || reasons[Superseded] < 200 {
		t.Errorf("fates %v, want what the path carries delivered and the rest superseded", reasons)
	}
	for _, r := range receipts[398:] {
		wantReason(t, r, NotAbandoned)
	}
	if len(s.keys) > 0 {
		t.Errorf("%d keys are remembered, want none", len(s.keys))
	}
}

// TestSupersedeOfWhatWasOftenLost has a newer message take the place of one that was sent more often than is counted.
func TestSupersedeOfWhatWasOftenLost(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	s, m := p.open(p.a, "state", nil), p.a.m
	old, err := s.TrySend([]byte("old"), Supersede(1))
	if err != nil {
		t.Fatal(err)
	}
	send := func() item {
		t.Helper()
		m.collect()
		m.buildItems = m.buildItems[:0]
		if b, _ := m.appendFlow(s, nil, 1171); len(b) == 0 {
			t.Fatal("nothing is sent")
		}
		for _, it := range m.buildItems {
			if it.kind == itemData {
				return it
			}
		}
		t.Fatal("no message is sent")
		return item{}
	}
	m.begin(epoch, 0)
	for range 300 {
		it := send()
		m.itemLost(0, &it)
	}
	last := send()
	if _, err := s.TrySend([]byte("new"), Supersede(1)); err != nil {
		t.Fatal(err)
	}
	m.collect()
	if old.Outcome() != Pending {
		t.Fatalf("a message in flight is %v at once", old.Outcome())
	}
	m.itemLost(0, &last)
	wantReason(t, old, Superseded)
	if n := len(s.message(1).terms.sentAgain); n != 0 {
		t.Errorf("the newer message counts as sent %d times", n+1)
	}
}

// TestSendDoesNotAllocate bounds what Send, options included, takes from the heap. Receipts come by the dozen.
func TestSendDoesNotAllocate(t *testing.T) {
	p := newPipe()
	s, err := p.a.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	msg := pattern(64, 1)
	var parent *Receipt
	var in *Receiver
	round := func() {
		for i := range 100 {
			var err error
			switch i % 4 {
			case 0:
				parent, err = s.Send(context.Background(), msg)
			case 1:
				_, err = s.Send(context.Background(), msg, After(parent), Transmits(2))
			case 2:
				_, err = s.TrySend(msg, StartWithin(time.Hour), FinishWithin(time.Hour))
			case 3:
				_, err = s.TrySend(msg, Supersede(1))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for s.buffered > 0 {
			p.turn()
			if in == nil {
				in, _ = p.b.Accept(over)
			}
			for in != nil {
				m, err := in.Recv(over)
				if err != nil {
					break
				}
				m.Release()
			}
		}
	}
	for range 20 {
		round()
	}
	n := testing.AllocsPerRun(50, round) / 100
	t.Logf("%.3f allocations per message", n)
	if !raceEnabled && n > 0.2 {
		t.Errorf("%.2f allocations per message with options, want one for every 32 receipts and hardly more", n)
	}
}
