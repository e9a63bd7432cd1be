// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"sync"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A callDesk admits the calls of an endpoint's peers.
type callDesk struct {
	handlers handlers

	slots    chan struct{} // holds a token for each handler that runs
	most     int           // calls admitted at a time: those that run and those that wait
	mostEach int           // of one session
	slotEach int           // handlers that run for one session

	mu       sync.Mutex
	admitted int
	idle     chan struct{} // closed when admitted is zero; nil if nobody waits for that
	refused  uint64
}

// sessionCalls are the calls of the peer of one session.
type sessionCalls struct {
	handlers handlers
	admitted int           // protected by callDesk.mu
	slots    chan struct{} // likewise, and made by the first call; see callDesk.slots
}

func (d *callDesk) init(c *Config) {
	d.slots = make(chan struct{}, c.MaxConcurrentCalls)
	d.slotEach = min(c.MaxSessionCalls, c.MaxConcurrentCalls)
	d.most = c.MaxConcurrentCalls + c.MaxQueuedCalls
	d.mostEach = d.slotEach + (c.MaxQueuedCalls+3)/4
}

// admit takes in a call, or reports false if there are too many.
func (d *callDesk) admit(sc *sessionCalls) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.admitted >= d.most || sc.admitted >= d.mostEach {
		d.refused++
		return false
	}
	d.admitted++
	sc.admitted++
	if sc.slots == nil {
		sc.slots = make(chan struct{}, d.slotEach)
	}
	return true
}

// leave says that a call is over.
func (d *callDesk) leave(sc *sessionCalls) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sc.admitted--
	if d.admitted--; d.admitted == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

// wait waits until no call is left, or ctx ends. No more must be admitted meanwhile.
func (d *callDesk) wait(ctx context.Context) {
	d.mu.Lock()
	if d.admitted == 0 {
		d.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	d.idle = idle
	d.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func (d *callDesk) stats() (admitted int, refused uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.admitted, d.refused
}

// takeSlot waits for a token's place. It reports false if ctx ended first.
func takeSlot(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
	}
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
		s.refuseCall(r, &h, callStatus{code: CallInternal, text: "malformed call"})
		return
	}
	fn, ok := s.calls.handlers.get(h.method)
	if !ok {
		fn, ok = s.e.calls.handlers.get(h.method)
	}
	switch {
	case !ok:
		s.refuseCall(r, &h, callStatus{code: CallNotFound})
	case h.stream != (fn.stream != nil):
		s.refuseCall(r, &h, callStatus{code: CallNotFound, text: "the method is of the other kind, streaming or not"})
	case !s.e.calls.admit(&s.calls):
		s.refuseCall(r, &h, callStatus{code: CallUnavailable})
	default:
		go newServed(s, r, h).run(fn)
	}
}

// refuseCall answers a call without a response. It does not block.
func (s *Session) refuseCall(r *flow.Receiver, h *callHeader, st callStatus) {
	var buf [flow.MaxMetadata]byte
	out, err := s.mux.Open("", &flow.Options{Priority: h.priority, Metadata: st.append(buf[:0]), Answers: r})
	if err == nil { // else the session is over
		_ = out.Close(atHand)
	}
	r.Reject(0)
}
