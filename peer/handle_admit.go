// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// begin waits until the handler may run. It reports false if that must not be any more.
func (c *served) begin() bool {
	own, shared := c.s.calls.slots, c.s.e.calls.slots
	// Within a session first: who waits for a place of the session keeps none of the endpoint's.
	if c.own = trySlot(own); c.own {
		c.shared = trySlot(shared)
	}
	if c.shared {
		return true
	}
	desk, n := &c.s.e.calls, len(c.req.Data)
	if !desk.hold(&c.s.calls, n) {
		c.answer(nil, callStatus{code: CallUnavailable})
		return false
	}
	defer desk.unhold(&c.s.calls, n)
	c.own = c.own || takeSlot(&c.ctx, own)
	c.shared = c.own && takeSlot(&c.ctx, shared)
	return c.shared
}

// releaseShared lets another call of the endpoint run.
func (c *served) releaseShared() {
	if c.shared {
		c.shared = false
		<-c.s.e.calls.slots
	}
}

// releaseOwn lets another call of the session run.
func (c *served) releaseOwn() {
	if c.own {
		c.own = false
		<-c.s.calls.slots
	}
}

func trySlot(slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// takeSlot waits for a token's place. It reports false if ctx ended first.
func takeSlot(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// admitCall starts a handler for a call that has arrived, or tells the caller why not. The loop calls it.
func (s *Session) admitCall(r *flow.Receiver) {
	h, err := parseCallHeader(r.Metadata())
	if err != nil {
		s.refuseCall(r, h.priority, callStatus{code: CallInternal, text: "malformed call"})
		return
	}
	fn, ok := s.calls.handlers.get(h.method)
	if !ok {
		fn, ok = s.e.calls.handlers.get(h.method)
	}
	switch {
	case !ok:
		s.refuseCall(r, h.priority, callStatus{code: CallNotFound})
		return
	case h.stream != (fn.stream != nil):
		s.refuseCall(r, h.priority, callStatus{code: CallNotFound, text: "the method is of the other kind, streaming or not"})
		return
	}
	c := newServed(s, r, h)
	ok, evicted := s.e.calls.admit(c, h.stream)
	if evicted != nil {
		evicted.s.refuseCall(evicted.in, evicted.priority, callStatus{code: CallUnavailable})
	}
	if !ok {
		s.refuseCall(r, h.priority, callStatus{code: CallUnavailable})
		return
	}
	go c.run(fn)
}

// refuseCall answers a call without a response. It does not block.
func (s *Session) refuseCall(r *flow.Receiver, p flow.Priority, st callStatus) {
	var buf [flow.MaxMetadata]byte
	out, err := s.mux.Open("", &flow.Options{Priority: p, Metadata: st.append(buf[:0]), Answers: r})
	if err == nil { // else the session is over
		_ = out.Close(atHand)
	}
	r.Reject(0)
}
