// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"strings"

	"github.com/seed-98f0d4c2/runnel/flow"
	gates "github.com/seed-98f0d4c2/runnel/internal/gate"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// reservedPrefix begins the labels that belong to this package (docs/PROTOCOL.md §9).
const reservedPrefix = "runnel."

var errReserved = errors.New(`peer: labels that begin with "runnel." are reserved`)

// OpenFlow opens a flow to the peer under a label that tells the peer what it is for. It does not wait: the flow
// comes to be at the peer with its first message, or at once if it is announced. A nil o means the zero Options.
// Labels have at most [flow.MaxLabel] bytes; those that begin with "runnel." are reserved. It fails with
// [flow.ErrTooLarge] or the error that ended the session. The flow must be ended with Close or Abort.
func (s *Session) OpenFlow(label string, o *flow.Options) (*flow.Sender, error) {
	if strings.HasPrefix(label, reservedPrefix) {
		return nil, errReserved
	}
	return s.mux.Open(label, o)
}

// AcceptFlow waits for the next flow that the peer has opened. Streams, calls, and flows that answer one of ours, are
// not among them. When the session is over, flows that have arrived are still returned before its error is.
func (s *Session) AcceptFlow(ctx context.Context) (*flow.Receiver, error) {
	return s.arrived.flows.accept(ctx)
}

const (
	maxUnwanted = 1024   // flows, or streams, that wait in a program that has never accepted any
	maxWaiting  = 10_000 // the same in one that has
)

// arrivals are the flows of one kind that wait to be accepted.
type arrivals struct {
	gate gates.Gate // condition: accept need not wait
	// Protected by gate.
	queue  []*flow.Receiver
	wanted bool // somebody accepts this kind
	err    error
}

func (a *arrivals) accept(ctx context.Context) (*flow.Receiver, error) {
	a.gate.Lock()
	a.wanted = true
	a.gate.Unlock(a.ready())
	if err := a.gate.WaitAndLock(ctx); err != nil {
		return nil, err
	}
	defer func() { a.gate.Unlock(a.ready()) }()
	if len(a.queue) == 0 {
		return nil, a.err
	}
	r := a.queue[0]
	a.queue[0] = nil
	a.queue = a.queue[1:]
	return r, nil
}

// ready is the gate's condition.
func (a *arrivals) ready() bool { return len(a.queue) > 0 || a.err != nil }

// offer puts r in line. It reports false if there are too many already.
func (a *arrivals) offer(r *flow.Receiver) bool {
	a.gate.Lock()
	defer func() { a.gate.Unlock(a.ready()) }()
	if len(a.queue) >= maxWaiting || len(a.queue) >= maxUnwanted && !a.wanted {
		return false
	}
	a.queue = append(a.queue, r)
	return true
}

// take removes the flows under a label from the line.
func (a *arrivals) take(label string) (taken []*flow.Receiver) {
	a.gate.Lock()
	defer func() { a.gate.Unlock(a.ready()) }()
	kept := a.queue[:0:0]
	for _, r := range a.queue {
		if r.Label() == label {
			taken = append(taken, r)
		} else {
			kept = append(kept, r)
		}
	}
	a.queue = kept
	return taken
}

// close makes accept fail with err once the line is empty.
func (a *arrivals) close(err error) {
	a.gate.Lock()
	a.err = err
	a.gate.Unlock(true)
}

// arrived holds what the peer has opened, by kind.
type arrived struct {
	flows, streams arrivals
	listeners      listeners
}

// atHand is a context for calls that are not to wait.
var atHand = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// sortArrived takes what the peer has opened from the flow machine, and to whom it belongs. The loop calls it.
func (s *Session) sortArrived() {
	for {
		r, err := s.mux.Accept(atHand)
		if err != nil {
			return
		}
		switch label := r.Label(); {
		case label == callLabel:
			s.admitCall(r)
		case strings.HasPrefix(label, reservedPrefix):
			r.Reject(uint64(wire.CodeFlowOption)) // of a later version
		case r.Stream():
			s.offerStream(r)
		default:
			if !s.arrived.flows.offer(r) {
				refuse(r)
			}
		}
	}
}

// refuse tells the peer that nobody takes a flow, so that it does not wait for an answer.
func refuse(r *flow.Receiver) { r.Reject(uint64(wire.CodeFlowRefused)) }

// endArrived makes everybody who waits for the peer to open something fail with err.
func (s *Session) endArrived(err error) {
	s.arrived.flows.close(err)
	s.arrived.streams.close(err)
	s.arrived.listeners.close(err)
}
