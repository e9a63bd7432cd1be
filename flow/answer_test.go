// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// Two ends that have each opened as many flows as the other allows, and wait for answers on all, get them: answers have
// places of their own.
func TestAnswersWhenNoFlowIsLeft(t *testing.T) {
	const most = wire.InitialFlowCount
	p := newPair(t, Config{MaxIncomingFlows: most}, Config{MaxIncomingFlows: most})
	asked := map[*side][]*Sender{}
	for _, s := range []*side{p.a, p.b} {
		for range 3 * most {
			f := p.open(s, "question", &Options{Returns: 1})
			p.send1(f, []byte("?"))
			asked[s] = append(asked[s], f)
		}
	}
	left := 2 * 3 * most
	p.until(time.Minute, "every question is answered", func() bool {
		for _, s := range []*side{p.a, p.b} {
			for {
				r, err := s.m.Accept(over)
				if err != nil {
					break
				}
				g := p.open(s, "", &Options{Answers: r})
				p.send1(g, []byte("!"))
				_ = g.Close(over)
				r.Reject(0)
			}
			waiting := asked[s][:0]
			for _, f := range asked[s] {
				back, err := f.AcceptReturn(over)
				if err != nil {
					waiting = append(waiting, f)
					continue
				}
				back.Reject(0)
				f.Abort(0)
				left--
			}
			asked[s] = waiting
		}
		return left == 0
	})
	p.run(time.Second)
	for _, s := range []*side{p.a, p.b} {
		if st := s.m.Stats(); st.OutgoingFlows+st.IncomingFlows != 0 || s.m.answersDue != 0 {
			t.Errorf("%s: %d flows out, %d in, %d answers due; want none", s.name, st.OutgoingFlows, st.IncomingFlows, s.m.answersDue)
		}
	}
}

// An incoming flow keeps its place until what answers it has been taken, or one end could make the other keep any number
// of answers.
func TestAnswersKeepTheirPlace(t *testing.T) {
	const most = wire.InitialFlowCount
	p := newPair(t, Config{MaxMessage: 1000}, Config{MaxIncomingFlows: most})
	for range 40 * most {
		f := p.open(p.a, "question", &Options{Returns: 1})
		p.send1(f, []byte("?"))
		_ = f.Close(over)
	}
	answered := 0
	limit := p.now.Add(time.Minute)
	for p.step(limit) {
		for {
			r, err := p.b.m.Accept(over)
			if err != nil {
				break
			}
			answered++
			g := p.open(p.b, "", &Options{Answers: r})
			for range 30 { // too much for a's windows, nobody reads it
				p.send1(g, make([]byte, 1000))
			}
			_ = g.Close(over)
			r.Reject(0)
		}
	}
	if st := p.b.m.Stats(); st.OutgoingFlows > most {
		t.Errorf("%d answers are kept for a peer that takes none, want at most the %d flows that it may have open", st.OutgoingFlows, most)
	}
	if answered == 40*most {
		t.Error("all flows were let in: this tests nothing")
	}
}

// A flow that the peer has refused unanswered, or that has failed here, gets no answer, and AcceptReturn says so.
func TestNoAnswerComes(t *testing.T) {
	for _, code := range []wire.Code{wire.CodeFlowOption, wire.CodeFlowRefused} {
		p := newPair(t, Config{}, Config{})
		f := p.open(p.a, "", &Options{Returns: 1})
		f.Announce()
		p.accept(p.b).Reject(uint64(code))
		p.run(time.Second)
		var rejected *RejectedError
		if _, err := f.AcceptReturn(over); !errors.As(err, &rejected) || rejected.Code != uint64(code) {
			t.Errorf("code %#x: AcceptReturn: %v, want the rejection", uint64(code), err)
		}
		if len(p.a.m.sendersByID) != 0 {
			t.Errorf("code %#x: the flow is remembered although no answer can come", uint64(code))
		}
	}
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", &Options{Returns: 1})
	p.send1(f, nil)
	_ = f.Close(over)
	p.run(time.Second)
	p.accept(p.b).Reject(uint64(wire.CodeFlowRefused))
	p.run(time.Second)
	if _, err := f.AcceptReturn(over); !errors.As(err, new(*RejectedError)) {
		t.Errorf("refused after all had arrived: AcceptReturn: %v, want the rejection", err)
	}
	if st := p.b.m.Stats(); p.b.m.retired != 1 || p.b.m.rejecting != 0 {
		t.Errorf("the refused flow is not done with: %+v", st)
	}

	p = newPair(t, Config{}, Config{})
	f = p.open(p.a, "", &Options{Returns: 1})
	f.Announce()
	r := p.accept(p.b)
	p.send1(p.open(p.b, "", &Options{Answers: r}), []byte("all the same"))
	r.Reject(7)
	p.run(time.Second)
	if _, err := f.AcceptReturn(over); err != nil {
		t.Errorf("an application's rejection: AcceptReturn: %v, want the answer that was given", err)
	}

	p = newPair(t, Config{}, Config{MaxMessage: 1000})
	f = p.open(p.a, "", &Options{Returns: 1})
	receipt := p.send1(f, make([]byte, 2<<20)) // b's limit is not known yet
	p.run(time.Second)
	if _, err := f.AcceptReturn(over); !errors.Is(err, ErrTooLarge) {
		t.Errorf("after a message too large for the peer: AcceptReturn: %v, want ErrTooLarge", err)
	}
	if receipt.Sent() {
		t.Error("the message is said to have been sent, which it was not")
	}
}

// A receipt says whether the peer can have the message.
func TestReceiptSent(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.a.filter = func(uint64, []byte) bool { return true } // nothing arrives
	whole := p.open(p.a, "", nil)
	part := p.open(p.a, "", nil)
	small, large := p.send1(whole, []byte("x")), p.send1(part, make([]byte, 200<<10))
	none := p.open(p.a, "", nil)
	if small.Sent() || large.Sent() || whole.Begun() {
		t.Error("something is said to have been sent before the loop has seen it")
	}
	p.flush(p.a)
	if !small.Sent() || !whole.Begun() {
		t.Error("a message that is on its way is not said to have been sent")
	}
	if large.Sent() || !part.Begun() {
		t.Error("a message of which the window lets only a part out is said to have been sent whole, or not at all")
	}
	if none.Begun() {
		t.Error("a flow is visible without anything having been sent of it")
	}
	part.Abort(0)
	p.a.m.Collect(p.now)
	if large.Outcome() != Abandoned || large.Sent() {
		t.Errorf("after Abort the outcome is %v, sent %t; want Abandoned, and not sent", large.Outcome(), large.Sent())
	}
	p.a.filter = nil
	p.run(time.Minute)
	if small.Outcome() != Delivered || !small.Sent() {
		t.Errorf("the outcome is %v, sent %t; want Delivered", small.Outcome(), small.Sent())
	}
}
