// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"sync/atomic"
	"time"
)

// An Outcome is the fate of a sent message.
type Outcome uint8

// Outcomes. A receipt leaves Pending exactly once, at the latest when the session ends.
const (
	Pending   Outcome = iota // queued or in flight
	Delivered                // the peer's flow layer has acknowledged the whole message
	Abandoned                // given up; the peer may or may not have received it
)

// String returns the name of the outcome.
func (o Outcome) String() string {
	return [...]string{"Pending", "Delivered", "Abandoned"}[min(o, Abandoned)]
}

// A Receipt follows one sent message to its fate. Its methods may be called from any goroutine; none of them blocks
// but Wait. A receipt that nobody is interested in may be dropped.
//
// Delivered means that the peer's machine has the message, not that its application has read it.
type Receipt struct {
	s     *Sender
	seq   uint64                        // number of the message in its flow
	state atomic.Uint32                 // an Outcome, and a Reason above it
	sent  atomic.Bool                   // all of it has been, at least once
	done  atomic.Pointer[chan struct{}] // made when first asked for; closedChan once resolved
	cause error                         // written before the state says Abandoned

	// The rest belongs to the loop.
	parents  *dependence // while pending: the messages this one dies with
	children *dependence // and those that die with it
}

// closedChan is the Done channel of receipts resolved before anybody asked.
var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done returns a channel that is closed when the outcome is no longer Pending.
func (r *Receipt) Done() <-chan struct{} {
	if p := r.done.Load(); p != nil {
		return *p
	}
	c := make(chan struct{})
	if r.done.CompareAndSwap(nil, &c) {
		return c
	}
	return *r.done.Load()
}

// Outcome returns the current outcome.
func (r *Receipt) Outcome() Outcome { return Outcome(r.state.Load()) }

// Reason returns why the message was abandoned, and NotAbandoned as long as it is not.
func (r *Receipt) Reason() Reason { return Reason(r.state.Load() >> 8) }

// Sent reports whether all of the message has been sent at least once, so that the peer may have it. For a message that
// was abandoned this does not change any more: if it is false, the peer will never have the message.
func (r *Receipt) Sent() bool { return r.sent.Load() }

// Seq returns the position of the message in its flow, from 0: what the peer sees as Message.Seq. For a message sent in
// parts it is that of the last part.
func (r *Receipt) Seq() uint64 { return r.seq }

// Err returns an [*AbandonedError] if the message was abandoned, and nil if it was delivered or its fate is open.
func (r *Receipt) Err() error {
	if state := r.state.Load(); Outcome(state) == Abandoned {
		return &AbandonedError{Reason: Reason(state >> 8), Cause: r.cause}
	}
	return nil
}

// Wait blocks until the message's fate is known. It returns nil if it was delivered, an [*AbandonedError] if it was
// given up, and the context's error if that ends first. Giving up waiting does not give up the message: see Abandon.
func (r *Receipt) Wait(ctx context.Context) error {
	if r.Outcome() == Pending {
		select {
		case <-r.Done():
		case <-ctx.Done():
			if r.Outcome() == Pending {
				return ctx.Err()
			}
		}
	}
	return r.Err()
}

// Abandon gives the message up, with reason [Withdrawn]: what has not been sent of it will not be, nothing is repeated,
// and messages sent [After] it are given up too. The receipt is resolved a moment later, by the session's loop; until
// then the message may still be delivered. On a message whose fate is known it has no effect.
func (r *Receipt) Abandon() { r.ask(func(a *ask) { a.withdraw = true }) }

// SetDeadline replaces both deadlines of a pending message: what [StartWithin] and [FinishWithin] set, but absolute.
// The zero time means no deadline. Deadlines may be brought forward or put off; one that has passed abandons the
// message at once, and the first has no meaning once the message is begun. The times are compared with those the
// session's loop is given, that is, with time.Now.
//
// On a message whose fate is known, and on one sent in parts, which are always reliable, it has no effect.
func (r *Receipt) SetDeadline(start, finish time.Time) {
	r.ask(func(a *ask) { a.deadlines, a.start, a.finish = true, start, finish })
}

// ask leaves a wish with the loop.
func (r *Receipt) ask(change func(*ask)) {
	if r.Outcome() != Pending || r.s == nil {
		return
	}
	m := r.s.m
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return // the end of the session resolves it
	}
	if m.asks == nil {
		m.asks = make(map[*Receipt]ask)
	}
	a, again := m.asks[r]
	if !again {
		m.asked = append(m.asked, r)
	}
	change(&a)
	m.asks[r] = a
	m.dirty.Store(true)
	m.mu.Unlock()
	m.wake()
}

// An ask is what an application wants of a pending message, beyond sending it. There is at most one per receipt.
type ask struct {
	withdraw      bool
	deadlines     bool
	start, finish time.Time
}

// resolve sets the outcome. Only the loop calls it, so that the first call is the one that counts.
func (r *Receipt) resolve(o Outcome, reason Reason, cause error) {
	if r.Outcome() != Pending {
		return
	}
	r.cause = cause
	r.state.Store(uint32(o) | uint32(reason)<<8)
	if old := r.done.Swap(&closedChan); old != nil {
		close(*old)
	}
}

// A receiptSlab hands out receipts that were allocated several at a time, more the more messages a flow has. One that
// is retained keeps its neighbours' few dozen bytes alive with it.
type receiptSlab struct {
	free []Receipt
	size int
}

func (s *receiptSlab) next() *Receipt {
	if len(s.free) == 0 {
		s.size = min(max(1, 2*s.size), 32)
		s.free = make([]Receipt, s.size)
	}
	r := &s.free[0]
	if s.free = s.free[1:]; len(s.free) == 0 {
		s.free = nil // or it would keep those handed out alive
	}
	return r
}
