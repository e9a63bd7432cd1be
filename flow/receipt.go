// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"sync"
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

// A Receipt follows one sent message to its fate. Its methods may be called from any goroutine. A receipt that nobody
// is interested in may be dropped.
//
// Delivered means that the peer's machine has the message, not that its application has read it.
type Receipt struct {
	mu      sync.Mutex
	outcome Outcome
	cause   error
	done    chan struct{} // made when first asked for
}

// closedChan is the Done channel of receipts resolved before anybody asked.
var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done returns a channel that is closed when the outcome is no longer Pending.
func (r *Receipt) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		if r.outcome != Pending {
			return closedChan
		}
		r.done = make(chan struct{})
	}
	return r.done
}

// Outcome returns the current outcome.
func (r *Receipt) Outcome() Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcome
}

// Wait blocks until the message's fate is known. It returns nil if it was delivered, an [*AbandonedError] if it was
// given up, and the context's error if that ends first. Giving up waiting does not give up the message.
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcome == Abandoned {
		return &AbandonedError{Cause: r.cause}
	}
	return nil
}

// resolve sets the outcome. Only the first call counts.
func (r *Receipt) resolve(o Outcome, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcome != Pending {
		return
	}
	r.outcome, r.cause = o, cause
	if r.done != nil {
		close(r.done)
	}
}

// A receiptSlab hands out receipts that were allocated several at a time. One that is retained keeps its neighbours'
// few dozen bytes alive with it.
type receiptSlab struct{ free []Receipt }

func (s *receiptSlab) next() *Receipt {
	if len(s.free) == 0 {
		s.free = make([]Receipt, 32)
	}
	r := &s.free[0]
	s.free = s.free[1:]
	return r
}
