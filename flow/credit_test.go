// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/recovery"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestSlowReaderStopsOnlyItsFlow does not read one flow and checks that another one goes on.
func TestSlowReaderStopsOnlyItsFlow(t *testing.T) {
	p := newPair(t, Config{}, Config{RecvWindow: 100_000})
	slow, fast := p.open(p.a, "slow", &Options{SendBuffer: 1 << 22}), p.open(p.a, "fast", nil)
	for range 1000 {
		p.send1(slow, pattern(1000, 1))
	}
	rs := p.accept(p.b)
	p.run(5 * time.Second)
	if used := p.a.m.sendUsed; used > 100_000+1000+wire.MessageCost || used < 90_000 {
		t.Errorf("%d of credit used on an unread flow, want its window of 100000 and at most the message that is being assembled", used)
	}
	for range 1000 {
		p.send1(fast, pattern(500, 2))
	}
	rf := p.accept(p.b)
	start := p.now
	for range 1000 {
		p.recv(rf)
	}
	if d := p.now.Sub(start); d > 500*time.Millisecond {
		t.Errorf("the other flow took %v for 500 kB", d)
	}
	start = p.now
	for range 1000 {
		p.recv(rs)
	}
	if d := p.now.Sub(start); d > time.Second {
		t.Errorf("the slow flow took %v after it was read again", d)
	}
}

// TestMessageLargerThanWindow checks that a message above the flow's window arrives all the same.
func TestMessageLargerThanWindow(t *testing.T) {
	p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
	f := p.open(p.a, "", nil)
	var r *Receiver
	for i := range 3 {
		p.send1(f, pattern(300_000, byte(i)))
		if r == nil {
			r = p.accept(p.b)
		}
		if msg := p.recv(r); !bytes.Equal(msg.Data, pattern(300_000, byte(i))) {
			t.Errorf("message %d changed", i)
		}
	}
}

// TestManyLargeMessagesAtOnce sends on many flows messages that together exceed the session's window. If all were begun,
// none could be completed.
func TestManyLargeMessagesAtOnce(t *testing.T) {
	p := newPair(t, Config{MaxMessage: 1 << 20}, Config{MaxMessage: 1 << 20, SessionWindow: 1})
	const n = 40
	for i := range n {
		p.send1(p.open(p.a, "", nil), pattern(1_000_000, byte(i)))
	}
	got := 0
	var open []*Receiver
	p.until(time.Hour, "all messages arrive", func() bool {
		for {
			r, err := p.b.m.Accept(over)
			if err != nil {
				break
			}
			open = append(open, r)
		}
		for _, r := range open {
			if _, err := r.Recv(over); err == nil {
				got++
			}
		}
		if held := p.b.m.recvUsed - p.b.m.recvConsumed - p.b.m.readBytes.Load(); held > p.b.m.config.sessionWindow() {
			t.Fatalf("%d bytes held, more than the session's window of %d", held, p.b.m.config.sessionWindow())
		}
		return got == n
	})
}

// TestSessionWindowIsAHardBound fills the session's window with unread messages.
func TestSessionWindowIsAHardBound(t *testing.T) {
	p := newPair(t, Config{}, Config{MaxMessage: 100_000, SessionWindow: 1, RecvWindow: 1 << 20})
	window := p.b.m.config.sessionWindow()
	for range 10 {
		f := p.open(p.a, "", &Options{SendBuffer: 1 << 20})
		for range 9 {
			p.send1(f, pattern(100_000, 0))
		}
	}
	p.run(20 * time.Second)
	if used := p.b.m.recvUsed; used > window || used < window-100_000-wire.MessageCost {
		t.Errorf("%d of credit used with nobody reading, want nearly %d", used, window)
	}
	n := 0
	var readers []*Receiver
	p.until(time.Minute, "everything arrives once it is read", func() bool {
		for r, err := p.b.m.Accept(over); err == nil; r, err = p.b.m.Accept(over) {
			readers = append(readers, r)
		}
		for _, r := range readers {
			for {
				if _, err := r.Recv(over); err != nil {
					break
				}
				n++
			}
		}
		return n == 90
	})
}

// TestTinyMessagesAreBounded checks that messages without bytes use credit too.
func TestTinyMessagesAreBounded(t *testing.T) {
	p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
	f := p.open(p.a, "", &Options{SendBuffer: 1 << 24})
	const n = 50_000
	for range n {
		p.send1(f, nil)
	}
	r := p.accept(p.b)
	p.run(3 * time.Second)
	if got := r.queue.len(); got > wire.InitialFlowWindow/wire.MessageCost {
		t.Errorf("%d unread empty messages, want at most %d", got, wire.InitialFlowWindow/wire.MessageCost)
	}
	for i := range n {
		if msg := p.recv(r); msg.Seq != uint64(i) || len(msg.Data) != 0 || msg.Data == nil {
			t.Fatalf("message %d: %v, want an empty one with that number", i, msg)
		}
	}
}

// TestLostWindowUpdates loses everything the receiver sends for a while after the flow has been blocked.
func TestLostWindowUpdates(t *testing.T) {
	p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
	f := p.open(p.a, "", &Options{SendBuffer: 1 << 20})
	for range 200 {
		p.send1(f, pattern(1000, 0))
	}
	r := p.accept(p.b)
	p.run(time.Second)
	blocked := p.a.m.Stats().Blocked
	if blocked == 0 {
		t.Fatal("the flow was not blocked")
	}
	outage := p.now.Add(3 * time.Second)
	p.b.filter = func(uint64, []byte) bool { return p.now.Before(outage) }
	for range 60 {
		p.recv(r)
	}
	p.run(3 * time.Second)
	start := p.now
	for range 140 {
		p.recv(r)
	}
	if d := p.now.Sub(start); d > 3*time.Second {
		t.Errorf("the flow resumed %v after the path did", d)
	}
}

// TestBlockedReminder checks that a sender that lost a grant for good, by whatever defect, gets it again.
func TestBlockedReminder(t *testing.T) {
	p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
	f := p.open(p.a, "", &Options{SendBuffer: 1 << 20})
	for range 100 {
		p.send1(f, pattern(1000, 0))
	}
	r := p.accept(p.b)
	p.run(100 * time.Millisecond)
	for range 50 {
		p.recv(r)
	}
	// The receiver believes that its window update has arrived, but it has not.
	p.b.m.collect()
	r.windowFact.clear()
	p.until(2*time.Second, "the sender reminds the receiver", func() bool {
		return r.windowFact.isSet()
	})
	for range 50 {
		p.recv(r)
	}
}

// TestSendBuffer checks back-pressure.
func TestSendBuffer(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", &Options{SendBuffer: 10_000})
	n := 0
	for {
		_, err := f.TrySend(pattern(1000-wire.MessageCost, 0))
		if errors.Is(err, ErrWouldBlock) {
			break
		}
		if n++; err != nil || n > 100 {
			t.Fatalf("TrySend: %v after %d messages", err, n)
		}
	}
	if n != 10 {
		t.Errorf("%d messages of 1000 bytes fit in a buffer of 10000, want 10", n)
	}
	p.run(time.Second)
	for range 10 {
		if _, err := f.TrySend(pattern(1000-wire.MessageCost, 0)); err != nil {
			t.Fatalf("TrySend after everything was acknowledged: %v", err)
		}
	}
	one := p.open(p.a, "", &Options{SendBuffer: -1})
	if _, err := one.TrySend(pattern(100_000, 0)); err != nil {
		t.Errorf("TrySend with a buffer of one message: %v", err)
	}
	if _, err := one.TrySend(nil); !errors.Is(err, ErrWouldBlock) {
		t.Errorf("second TrySend with a buffer of one message: %v, want ErrWouldBlock", err)
	}
}

// TestPeerTakesLess sends a message that only the peer finds too large.
func TestPeerTakesLess(t *testing.T) {
	p := newPair(t, Config{}, Config{MaxMessage: 10_000})
	early := p.open(p.a, "", nil)
	receipt := p.send1(early, pattern(20_000, 0)) // before the peer has told its limit
	p.run(time.Second)
	if err := receipt.Wait(over); !errors.Is(err, ErrAbandoned) {
		t.Errorf("Wait: %v, want ErrAbandoned", err)
	}
	var rejected *RejectedError
	if _, err := early.Send(over, nil); !errors.As(err, &rejected) || rejected.Code != uint64(wire.CodeFlowMessageSize) {
		t.Errorf("Send after a message the peer does not take: %v, want a RejectedError with %#x", err,
			uint64(wire.CodeFlowMessageSize))
	}
	if _, err := p.accept(p.b).Recv(over); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Recv of a message that is too large: %v, want ErrTooLarge", err)
	}
	late := p.open(p.a, "", nil)
	if _, err := late.Send(over, pattern(10_001, 0)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Send of a message above the peer's limit: %v, want ErrTooLarge", err)
	}
	p.send1(late, pattern(10_000, 0))
	p.recv(p.accept(p.b))
}

// TestAbortFreesReservation aborts a large message, begun but hardly sent, for which the session's credit was set aside.
func TestAbortFreesReservation(t *testing.T) {
	p := newPair(t, Config{MaxMessage: 1 << 20}, Config{MaxMessage: 1 << 20, SessionWindow: 1})
	p.run(time.Second) // so that the limits are known
	p.eachLink(func(l *link) { l.rate, l.queue = 50_000, 1<<20 })
	var flows []*Sender
	for range 4 { // of 2.5 MiB
		f := p.open(p.a, "", nil)
		p.send1(f, pattern(1_000_000, 0))
		flows = append(flows, f)
	}
	p.run(2 * time.Second) // enough for each to have had its turn
	if p.a.m.sessionWait.n != 2 {
		t.Fatalf("%d flows wait for the session's credit, want 2", p.a.m.sessionWait.n)
	}
	flows[0].Abort(0)
	flows[1].Abort(0)
	p.run(2 * time.Second)
	if p.a.m.sessionWait.n != 0 {
		t.Errorf("%d flows still wait for the session's credit", p.a.m.sessionWait.n)
	}
}

// TestAbortedFlowsLeaveTheLine opens and aborts flows while the peer grants no credit: none may be remembered as waiting.
func TestAbortedFlowsLeaveTheLine(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	m := p.a.m
	m.begin(epoch, 0)
	m.handleLimits(0, 10_000, 1<<20)
	m.sendUsed = m.sendLimit
	stays := p.open(p.a, "", nil)
	p.send1(stays, []byte("x"))
	for range 1000 {
		f := p.open(p.a, "", nil)
		p.send1(f, []byte("x"))
		m.Append(p.now, 0, nil, 1171)
		if f.waitAt == 0 {
			t.Fatal("a flow does not wait though there is no credit")
		}
		f.Abort(0)
		m.Append(p.now, 0, nil, 1171)
		m.settle(0, m.buildItems, recovery.Acked)
		m.buildItems = m.buildItems[:0]
	}
	if n := m.sessionWait.n; n != 1 || stays.waitAt == 0 {
		t.Errorf("%d flows wait for the session's credit, want the one that is not aborted", n)
	}
}
