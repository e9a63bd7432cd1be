// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// wantReason checks the fate of a message. NotAbandoned means delivered.
func wantReason(t *testing.T, r *Receipt, want Reason) {
	t.Helper()
	outcome := Abandoned
	if want == NotAbandoned {
		outcome = Delivered
	}
	if r.Outcome() != outcome || r.Reason() != want {
		t.Errorf("message %d: %v, %v, want %v, %v", r.Seq(), r.Outcome(), r.Reason(), outcome, want)
	}
	err := r.Err()
	if want == NotAbandoned {
		if err != nil {
			t.Errorf("message %d is delivered, but Err() = %v", r.Seq(), err)
		}
		return
	}
	if !errors.Is(err, ErrAbandoned) || !errors.Is(err, &AbandonedError{Reason: want}) ||
		errors.Is(err, &AbandonedError{Reason: want + 1}) {
		t.Errorf("message %d: Err() = %v, want one that matches ErrAbandoned and %v only", r.Seq(), err, want)
	}
	if again := r.Wait(over); !errors.Is(again, ErrAbandoned) {
		t.Errorf("message %d: Wait() = %v, want an AbandonedError", r.Seq(), again)
	}
	select {
	case <-r.Done():
	default:
		t.Errorf("message %d: Done is open though the fate is known", r.Seq())
	}
}

// TestAbandonMatrix puts every way of giving a message up against every state the message may be in.
func TestAbandonMatrix(t *testing.T) {
	const size = 5000 // several packets
	causes := []struct {
		name string
		opts func(parent *Receipt) []SendOption
		// fire makes the cause happen.
		fire func(p *pair, s *Sender, parent, r *Receipt)
		want Reason
	}{
		{
			"StartWithin", func(*Receipt) []SendOption { return []SendOption{StartWithin(time.Second)} },
			func(p *pair, _ *Sender, _, _ *Receipt) { p.run(2 * time.Second) }, StartDeadline,
		},
		{
			"FinishWithin", func(*Receipt) []SendOption { return []SendOption{FinishWithin(time.Second)} },
			func(p *pair, _ *Sender, _, _ *Receipt) { p.run(2 * time.Second) }, FinishDeadline,
		},
		{
			"Transmits(1)", func(*Receipt) []SendOption { return []SendOption{Transmits(1)} },
			func(p *pair, _ *Sender, _, _ *Receipt) { p.run(2 * time.Second) }, TransmitLimit,
		},
		{
			"Transmits(3)", func(*Receipt) []SendOption { return []SendOption{Transmits(3)} },
			func(p *pair, _ *Sender, _, _ *Receipt) { p.run(20 * time.Second) }, TransmitLimit,
		},
		{
			"After", func(parent *Receipt) []SendOption { return []SendOption{After(parent)} },
			func(p *pair, _ *Sender, parent, _ *Receipt) { parent.Abandon(); p.run(time.Millisecond) }, ParentAbandoned,
		},
		{
			"Supersede", func(*Receipt) []SendOption { return []SendOption{Supersede(7)} },
			func(p *pair, s *Sender, _, _ *Receipt) {
				if _, err := s.TrySend(nil, Supersede(7)); err != nil {
					p.t.Fatal(err)
				}
				p.run(5 * time.Second)
			}, Superseded,
		},
		{
			"Abandon", func(*Receipt) []SendOption { return nil },
			func(p *pair, _ *Sender, _, r *Receipt) { r.Abandon(); p.run(time.Millisecond) }, Withdrawn,
		},
		{
			"SetDeadline", func(*Receipt) []SendOption { return nil },
			func(p *pair, _ *Sender, _, r *Receipt) {
				r.SetDeadline(time.Time{}, p.now.Add(100*time.Millisecond))
				p.run(200 * time.Millisecond)
			}, FinishDeadline,
		},
	}
	states := []struct {
		name string
		// reach brings the message, which has just been handed to Send, into the state.
		reach func(p *pair, s *Sender, r *Receipt)
		// want returns what becomes of it when the cause fires then.
		want func(cause string, otherwise Reason) Reason
	}{
		{
			"queued", func(p *pair, s *Sender, _ *Receipt) {
				s.flowLimit = s.flowUsed // nothing may be sent
				p.run(time.Millisecond)
			},
			func(cause string, otherwise Reason) Reason {
				if cause == "Transmits(1)" || cause == "Transmits(3)" {
					return NotAbandoned // the peer is reminded that the flow is blocked, and lets it go on
				}
				return otherwise
			},
		},
		{
			"in flight", func(p *pair, _ *Sender, _ *Receipt) { p.a.link.loss = 1; p.run(time.Millisecond) },
			func(cause string, otherwise Reason) Reason {
				switch cause {
				case "StartWithin":
					return NotAbandoned + 100
				case "Transmits(1)", "Transmits(3)", "Supersede":
					// Without any answer a loss is never more than feared, and what is feared is not repeated beyond
					// the limit: the fate is open until the path is back.
					return NotAbandoned + 100
				}
				return otherwise
			},
		},
		{
			"partly acked", func(p *pair, _ *Sender, _ *Receipt) {
				n := 0
				p.a.filter = func(_ uint64, payload []byte) bool {
					if typ, _, _, _ := wire.NextChunk(payload); !typ.IsFlow() || typ == wire.ChunkFlowSkip {
						return false
					}
					n++
					return n != 2 && n != 4 && n < 60 // two of the first packets pass, and nothing before long
				}
				p.run(45 * time.Millisecond)
			},
			func(cause string, otherwise Reason) Reason {
				if cause == "StartWithin" {
					return NotAbandoned + 100
				}
				return otherwise
			},
		},
		{
			"acked", func(p *pair, _ *Sender, r *Receipt) {
				p.until(time.Minute, "the message is delivered", func() bool { return r.Outcome() == Delivered })
			},
			func(string, Reason) Reason { return NotAbandoned },
		},
		{
			"flow aborted", func(p *pair, s *Sender, _ *Receipt) {
				p.a.link.loss = 1
				p.run(time.Millisecond)
				s.Abort(3)
				p.run(time.Millisecond)
			},
			func(string, Reason) Reason { return FlowAborted },
		},
		{
			"rejected", func(p *pair, s *Sender, _ *Receipt) {
				p.a.filter = func(uint64, []byte) bool { return true }
				p.run(time.Millisecond)
				if err := p.a.m.handleReject(s.open.Flow, 9); err != nil {
					p.t.Fatal(err)
				}
				p.run(time.Millisecond)
			},
			func(string, Reason) Reason { return FlowRejected },
		},
		{
			"session closed", func(p *pair, _ *Sender, _ *Receipt) {
				p.a.link.loss = 1
				p.run(time.Millisecond)
				p.a.m.Close(p.now, errTestOver)
			},
			func(string, Reason) Reason { return SessionOver },
		},
	}
	for _, cause := range causes {
		for _, state := range states {
			t.Run(fmt.Sprintf("%s/%s", cause.name, state.name), func(t *testing.T) {
				p := newPair(t, Config{}, Config{})
				s := p.open(p.a, "matrix", nil)
				other := p.open(p.a, "parent", nil)
				first, err := s.TrySend([]byte("first")) // opens the flow and measures the path
				if err != nil {
					t.Fatal(err)
				}
				p.until(time.Minute, "the first message is delivered", func() bool { return first.Outcome() == Delivered })

				// The parent is on a flow of its own that may send nothing.
				other.flowLimit = 0
				parent, err := other.TrySend([]byte("parent"))
				if err != nil {
					t.Fatal(err)
				}
				r, err := s.TrySend(pattern(size, 1), cause.opts(parent)...)
				if err != nil {
					t.Fatal(err)
				}
				state.reach(p, s, r)
				if !p.a.m.closed && s.failed == false || cause.name != "Supersede" {
					cause.fire(p, s, parent, r)
				}
				want := state.want(cause.name, cause.want)
				if want == NotAbandoned+100 {
					if r.Outcome() != Pending {
						t.Fatalf("%v, %v, want Pending", r.Outcome(), r.Reason())
					}
					// Let it through after all.
					p.a.link.loss, p.a.filter = 0, nil
					if state.name == "queued" {
						s.flowLimit = 1 << 20
						p.a.m.unblock(s)
					}
					p.until(time.Minute, "the fate is known", func() bool { return r.Outcome() != Pending })
					final := cause.want
					if cause.name == "StartWithin" { // it has been begun
						final = NotAbandoned
					}
					wantReason(t, r, final)
				} else {
					wantReason(t, r, want)
				}
				reason := r.Reason()

				// And that stays so, whatever happens later.
				r.Abandon()
				r.SetDeadline(p.now, p.now)
				p.a.link.loss, p.a.filter = 0, nil
				s.flowLimit, other.flowLimit = 1<<20, 1<<20
				p.a.m.unblock(s)
				p.a.m.unblock(other)
				p.run(20 * time.Second)
				p.a.m.Close(p.now, errTestOver)
				if r.Reason() != reason {
					t.Errorf("the reason changed from %v to %v", reason, r.Reason())
				}
				if n := len(p.a.m.deadlines); n > 0 {
					t.Errorf("%d deadlines are remembered at the end, want none", n)
				}
			})
		}
	}
}

// TestGapIsPassed has messages abandoned before and after they were begun. The receiver gets everything else within a
// round trip, the numbers show the gaps, and both ends agree on the credit used.
func TestGapIsPassed(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	s := p.open(p.a, "gaps", nil)
	var receipts []*Receipt
	send := func(n int, opts ...SendOption) {
		r, err := s.TrySend(pattern(n, byte(len(receipts))), opts...)
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	send(10)
	p.run(100 * time.Millisecond)
	r := p.accept(p.b)
	if got := p.recv(r); got.Seq != 0 {
		t.Fatalf("message %d, want 0", got.Seq)
	}
	for range 2 {
		send(3000)
	}
	p.a.link.loss = 1
	p.run(5 * time.Millisecond)
	p.a.link.loss = 0
	for range 18 {
		send(3000)
	}
	for i := 1; i <= 19; i++ { // two of them are in flight and lost, the others have not been begun
		receipts[i].Abandon()
	}
	start := p.now
	if got := p.recv(r); got.Seq != 20 {
		t.Errorf("message %d, want 20: those before it are abandoned", got.Seq)
	}
	if took := p.now.Sub(start); took > 11*time.Millisecond {
		t.Errorf("the message behind the gap took %v, want the 10 ms that a packet takes", took)
	}
	if err := p.closeFlow(s); err != nil {
		t.Errorf("Close: %v, want nil: what was abandoned was so by its own terms", err)
	}
	p.wantEOF(r)
	for i, receipt := range receipts {
		want := NotAbandoned
		if i >= 1 && i <= 19 {
			want = Withdrawn
		}
		wantReason(t, receipt, want)
	}
	p.wantBalance()
	p.wantNoLeak()
}

// wantBalance checks that the ends agree on the credit of the session, and that all of it is free.
func (p *pair) wantBalance() {
	p.t.Helper()
	for _, s := range []*side{p.a, p.b} {
		if s.m.sendReserved != 0 {
			p.t.Errorf("%s: %d of credit reserved at the end, want none", s.name, s.m.sendReserved)
		}
		if got, want := s.peer.m.recvUsed, s.m.sendUsed; got != want {
			p.t.Errorf("%s used %d of credit, the peer reckons %d", s.name, want, got)
		}
		if s.m.starved() || !s.m.probeAt.IsZero() {
			p.t.Errorf("%s: %d flows blocked, %d waiting, reminder at %v, want none", s.name, len(s.m.blocked),
				s.m.sessionWait.n, s.m.probeAt)
		}
	}
}

// TestDeadlineHasATimer checks that messages expire when nothing else happens, that Send is let go on, and that nobody is
// reminded of a blocked flow that has nothing more to send.
func TestDeadlineHasATimer(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	s := p.open(p.a, "timer", &Options{SendBuffer: 1000, StartWithin: 300 * time.Millisecond})
	first, _ := s.TrySend(nil)
	p.until(time.Minute, "the flow is open", func() bool { return first.Outcome() == Delivered })
	p.run(time.Second)
	s.flowLimit = s.flowUsed // the peer grants nothing
	r, err := s.TrySend(make([]byte, 2000))
	if err != nil {
		t.Fatal(err)
	}
	late, err := s.TrySend(nil)
	if !errors.Is(err, ErrWouldBlock) {
		t.Fatalf("TrySend with a full buffer: %v, %v, want ErrWouldBlock", late, err)
	}
	p.flush(p.a)
	if got, want := p.a.m.NextTimeout(), p.now.Add(300*time.Millisecond); !got.Equal(want) {
		t.Fatalf("NextTimeout in %v, want the deadline in 300 ms", got.Sub(p.now))
	}
	p.run(299 * time.Millisecond)
	if r.Outcome() != Pending {
		t.Fatalf("%v before the deadline", r.Outcome())
	}
	p.run(time.Millisecond)
	wantReason(t, r, StartDeadline)
	if err := s.WaitWritable(over); err != nil {
		t.Errorf("WaitWritable after the deadline: %v, want room", err)
	}
	if st := s.Stats(); st.Abandoned[StartDeadline] != 1 || st.Queued != 0 || st.QueuedBytes != 0 || st.Blocked {
		t.Errorf("stats %+v, want one abandoned and nothing queued or blocked", st)
	}
	p.run(time.Second)
	p.wantBalance()
	s.flowLimit = 1 << 20
	if _, err := s.TrySend([]byte("on")); err != nil {
		t.Fatal(err)
	}
	in := p.accept(p.b)
	if got := p.recv(in); got.Seq != 0 {
		t.Errorf("message %d, want 0", got.Seq)
	}
	if got := p.recv(in); got.Seq != 2 {
		t.Errorf("message %d, want 2", got.Seq)
	}
}
