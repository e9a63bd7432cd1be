// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestRejectMidMessage rejects a flow while a large message is on its way.
func TestRejectMidMessage(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.loss = 0.05 })
	f := p.open(p.a, "", &Options{SendBuffer: 1 << 24})
	var receipts []*Receipt
	for range 10 {
		receipts = append(receipts, p.send1(f, pattern(1_000_000, 0)))
	}
	r := p.accept(p.b)
	p.recv(r)
	p.run(100 * time.Millisecond)
	r.Reject(77)
	if _, err := r.Recv(over); !errors.Is(err, ErrClosed) {
		t.Errorf("Recv after Reject: %v, want ErrClosed", err)
	}
	var rejected *RejectedError
	if err := p.closeFlow(f); !errors.As(err, &rejected) || rejected.Code != 77 {
		t.Errorf("Close of a rejected flow: %v, want code 77", err)
	}
	if _, err := f.Send(over, nil); !errors.As(err, &rejected) || rejected.Code != 77 {
		t.Errorf("Send on a rejected flow: %v, want code 77", err)
	}
	sent := p.a.m.Stats().BytesSent
	p.run(10 * time.Second)
	if again := p.a.m.Stats().BytesSent; again != sent {
		t.Errorf("%d bytes sent on a flow known to be rejected", again-sent)
	}
	abandoned := 0
	for i, receipt := range receipts {
		err := receipt.Wait(over)
		switch receipt.Outcome() {
		case Abandoned:
			abandoned++
			if !errors.Is(err, ErrAbandoned) || !errors.As(err, &rejected) {
				t.Errorf("receipt %d: %v, want ErrAbandoned because of a RejectedError", i, err)
			}
		case Pending:
			t.Errorf("receipt %d still pending", i)
		}
	}
	if abandoned < 5 || receipts[0].Outcome() != Delivered {
		t.Errorf("%d messages abandoned and the first %v, want most abandoned and the first delivered", abandoned,
			receipts[0].Outcome())
	}
	p.wantNoLeak()
}

// wantNoLeak checks that both ends have forgotten all flows and given back all credit.
func (p *pair) wantNoLeak() {
	p.t.Helper()
	for _, s := range []*side{p.a, p.b} {
		m := s.m
		m.collect()
		for id, r := range m.receivers {
			p.t.Logf("%s still has flow %d: next %d end %v %d, used %d, refusing %v %+v", s.name, id, r.base, r.hasEnd, r.endSeq,
				r.used, r.refusing, r.reject)
		}
		if n := len(m.senders) + len(m.sendersByID) + len(m.receivers); n > 0 || !m.Idle() {
			p.t.Errorf("%s: %d flows remembered, idle %v, want none and true", s.name, n, m.Idle())
		}
		if m.recvConsumed+m.readBytes.Load() != m.recvUsed {
			p.t.Errorf("%s: %d of credit used, %d given back", s.name, m.recvUsed, m.recvConsumed)
		}
		if m.recvUsed != s.peer.m.sendUsed || s.peer.m.sendReserved != 0 {
			p.t.Errorf("%s: %d of credit used, the peer believes %d, and %d reserved", s.name, m.recvUsed,
				s.peer.m.sendUsed, s.peer.m.sendReserved)
		}
		if m.pieces != 0 || m.ahead != 0 || len(m.touched) != 0 {
			p.t.Errorf("%s: %d pieces, %d bytes ahead and %d flows remembered, want none", s.name, m.pieces, m.ahead, len(m.touched))
		}
		if m.retired != m.finished.Size() {
			p.t.Errorf("%s: %d of %d finished flows retired", s.name, m.retired, m.finished.Size())
		}
		if m.loss.InFlight() != 0 || m.loss.Outstanding() != 0 || m.sched.n != 0 || len(m.blocked) != 0 {
			p.t.Errorf("%s: %d bytes in flight, %d packets, %d flows scheduled, %d blocked", s.name, m.loss.InFlight(),
				m.loss.Outstanding(), m.sched.n, len(m.blocked))
		}
	}
}

func TestRejectAtOnce(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	receipt := p.send1(f, []byte("x"))
	p.accept(p.b).Reject(5)
	var rejected *RejectedError
	p.until(time.Second, "the sender learns of it", func() bool {
		_, err := f.TrySend(nil)
		return errors.As(err, &rejected)
	})
	if rejected.Code != 5 || receipt.Outcome() != Delivered {
		t.Errorf("code %d and receipt %v, want 5 and Delivered: the message had been acknowledged", rejected.Code,
			receipt.Outcome())
	}
	p.run(time.Second)
	p.wantNoLeak()
}

// TestErrorsNameCodes: an application finds its own numbers in errors, and the protocol's with their meaning.
func TestErrorsNameCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&RejectedError{404}, "flow: rejected by the peer with code 404"},
		{&RejectedError{0x4084}, "flow: rejected by the peer with code 0x4084, flow not wanted"},
		{&AbortedError{7}, "flow: aborted by the peer with code 7"},
		{&AbortedError{0x4083}, "flow: aborted by the peer with code 0x4083, message cut off"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("%#v: %q, want %q", test.err, got, test.want)
		}
	}
}

// TestAbort aborts a flow in all phases of its life.
func TestAbort(t *testing.T) {
	t.Run("unsent", func(t *testing.T) {
		p := newPair(t, Config{}, Config{})
		f := p.open(p.a, "", nil)
		receipt := p.send1(f, []byte("x"))
		f.Abort(1)
		p.run(time.Second)
		if _, err := p.b.m.Accept(over); err == nil {
			t.Error("a flow aborted before anything was sent arrived")
		}
		if err := receipt.Wait(over); !errors.Is(err, ErrAbandoned) || !errors.Is(err, ErrClosed) {
			t.Errorf("Wait: %v, want ErrAbandoned because of ErrClosed", err)
		}
		p.wantNoLeak()
	})
	t.Run("in flight", func(t *testing.T) {
		p := newPair(t, Config{}, Config{})
		p.eachLink(func(l *link) { l.loss = 0.2 })
		f := p.open(p.a, "", &Options{SendBuffer: 1 << 24})
		for i := range 100 {
			p.send1(f, pattern(5000, byte(i)))
		}
		r := p.accept(p.b)
		p.run(200 * time.Millisecond)
		f.Abort(42)
		if _, err := f.Send(over, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Abort: %v, want ErrClosed", err)
		}
		msgs, err := p.recvErr(r)
		var aborted *AbortedError
		if !errors.As(err, &aborted) || aborted.Code != 42 {
			t.Errorf("Recv: %v, want an AbortedError with code 42", err)
		}
		for i, msg := range msgs {
			if msg.Seq != uint64(i) {
				t.Errorf("message %d has number %d", i, msg.Seq)
			}
		}
		if err := p.closeFlow(f); !errors.Is(err, ErrClosed) {
			t.Errorf("Close after Abort: %v, want ErrClosed", err)
		}
		p.run(5 * time.Second)
		p.wantNoLeak()
	})
	t.Run("while closing", func(t *testing.T) {
		p := newPair(t, Config{}, Config{})
		f := p.open(p.a, "", &Options{SendBuffer: 1 << 24})
		p.send1(f, pattern(1_000_000, 0))
		r := p.accept(p.b)
		if err := f.Close(over); !errors.Is(err, context.Canceled) {
			t.Fatalf("Close: %v", err)
		}
		p.run(30 * time.Millisecond)
		f.Abort(43)
		var aborted *AbortedError
		if _, err := p.recvErr(r); !errors.As(err, &aborted) {
			t.Errorf("Recv: %v, want an AbortedError", err)
		}
		p.run(time.Second)
		p.wantNoLeak()
	})
	t.Run("closed", func(t *testing.T) {
		p := newPair(t, Config{}, Config{})
		f := p.open(p.a, "", nil)
		p.send1(f, []byte("x"))
		if err := p.closeFlow(f); err != nil {
			t.Fatal(err)
		}
		f.Abort(44)
		p.run(time.Second)
		r := p.accept(p.b)
		if string(p.recv(r).Data) != "x" {
			t.Error("message changed")
		}
		p.wantEOF(r)
		if err := p.closeFlow(f); err != nil {
			t.Errorf("Close after an Abort that came too late: %v, want nil", err)
		}
		p.run(time.Second)
		p.wantNoLeak()
	})
}

// TestSessionDeath ends the session in the middle of things: every receipt has one outcome, every handle an error.
func TestSessionDeath(t *testing.T) {
	dead := errors.New("the session is dead")
	p := newPair(t, Config{}, Config{})
	p.eachLink(func(l *link) { l.loss = 0.1 })
	var receipts []*Receipt
	var flows []*Sender
	for range 20 {
		f := p.open(p.a, "", &Options{SendBuffer: 1 << 20, Returns: 1})
		flows = append(flows, f)
		for range 20 {
			receipts = append(receipts, p.send1(f, pattern(1500, 0)))
		}
	}
	r := p.accept(p.b)
	p.recv(r)
	p.run(60 * time.Millisecond)
	late := p.send1(flows[0], nil) // still with the handle
	unseen := p.open(p.a, "", nil)
	unseenReceipt := p.send1(unseen, nil)
	done := late.Done()
	p.a.m.Close(p.now, dead)
	p.a.m.Close(p.now, errors.New("second"))
	p.b.m.Close(p.now, dead)
	delivered := 0
	for i, receipt := range append(receipts, late, unseenReceipt) {
		select {
		case <-receipt.Done():
		default:
			t.Errorf("receipt %d is not done", i)
		}
		switch err := receipt.Wait(over); receipt.Outcome() {
		case Delivered:
			delivered++
			if err != nil {
				t.Errorf("receipt %d delivered: Wait = %v", i, err)
			}
		case Abandoned:
			if !errors.Is(err, dead) || !errors.Is(err, ErrAbandoned) {
				t.Errorf("receipt %d abandoned: Wait = %v, want because of the session's error", i, err)
			}
		default:
			t.Errorf("receipt %d is %v", i, receipt.Outcome())
		}
	}
	if delivered == 0 || delivered == len(receipts) {
		t.Errorf("%d of %d delivered; the test wants some", delivered, len(receipts))
	}
	<-done
	for _, f := range append(flows, unseen) {
		if _, err := f.Send(over, nil); err != dead {
			t.Errorf("Send: %v, want the session's error", err)
		}
		if err := f.Close(over); err != dead {
			t.Errorf("Close: %v, want the session's error", err)
		}
		want := dead
		if f == unseen { // it was opened for no answers
			want = ErrClosed
		}
		if _, err := f.AcceptReturn(over); err != want {
			t.Errorf("AcceptReturn: %v, want %v", err, want)
		}
	}
	if _, err := p.recvErr(r); err != dead {
		t.Errorf("Recv: %v, want the session's error after what was at hand", err)
	}
	if _, err := p.a.m.Open("", nil); err != dead {
		t.Errorf("Open: %v, want the session's error", err)
	}
	for {
		if _, err := p.b.m.Accept(over); err != nil {
			if err != dead {
				t.Errorf("Accept: %v, want the session's error after what was at hand", err)
			}
			break
		}
	}
	if b := p.a.m.Append(p.now, p.a.pn, nil, 1171); len(b) > 0 || !p.a.m.NextTimeout().IsZero() {
		t.Error("a dead session wants to send or to wake up")
	}
}

// TestReturnFlows answers flows.
func TestReturnFlows(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "question", &Options{Returns: 2})
	p.send1(f, []byte("?"))
	if err := p.closeFlow(f); err != nil {
		t.Fatal(err)
	}
	r := p.accept(p.b)
	for range 3 {
		g := p.open(p.b, "answer", &Options{Answers: r})
		p.send1(g, []byte("!"))
	}
	p.run(time.Second)
	for range 2 {
		back, err := f.AcceptReturn(over)
		if err != nil || back.Label() != "answer" || string(p.recv(back).Data) != "!" {
			t.Fatalf("AcceptReturn: %v, %v", back, err)
		}
	}
	if _, err := f.AcceptReturn(over); !errors.Is(err, ErrClosed) {
		t.Errorf("third AcceptReturn: %v, want ErrClosed", err)
	}
	if _, err := p.a.m.Accept(over); err == nil {
		t.Error("Accept returned an answer")
	}
	// The third answer was rejected, and so is one to a flow that takes none.
	plain := p.open(p.a, "", nil)
	p.send1(plain, nil)
	p.run(time.Second)
	var r2 *Receiver
	for r2 == nil || r2.Label() != "" {
		r2 = p.accept(p.b)
	}
	h := p.open(p.b, "", &Options{Answers: r2})
	p.send1(h, nil)
	p.run(time.Second)
	var rejected *RejectedError
	if _, err := h.Send(over, nil); !errors.As(err, &rejected) || rejected.Code != uint64(wire.CodeFlowAnswer) {
		t.Errorf("Send on an answer to a flow that takes none: %v, want code %#x", err, uint64(wire.CodeFlowAnswer))
	}
}

// TestRefuseReturns rejects an answer that was not yet accepted.
func TestRefuseReturns(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", &Options{Returns: 2})
	f.Announce()
	r := p.accept(p.b)
	g := p.open(p.b, "", &Options{Answers: r})
	p.send1(g, nil)
	p.run(time.Second)
	f.RefuseReturns()
	p.run(time.Second)
	h := p.open(p.b, "", &Options{Answers: r})
	p.send1(h, nil)
	p.run(time.Second)
	var rejected *RejectedError
	for _, s := range []*Sender{g, h} {
		if _, err := s.Send(over, nil); !errors.As(err, &rejected) {
			t.Errorf("Send on a refused answer: %v, want a RejectedError", err)
		}
	}
	if err := p.closeFlow(f); err != nil {
		t.Errorf("Close: %v", err)
	}
	p.run(time.Second)
	p.wantNoLeak()
}
