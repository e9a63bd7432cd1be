// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"container/list"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A served is a call of the peer's that has been admitted.
type served struct {
	s        *Session
	in       *flow.Receiver
	priority flow.Priority
	ctx      handlerContext
	req      Request

	own, shared bool // it has a slot of the session, of the endpoint

	// Protected by callDesk.mu.
	arrived    time.Time
	unfinished *list.Element // the place in callDesk.unfinished, until the request is there
	evicted    bool          // another has its place
	long       bool          // counted in callDesk.long
}

func newServed(s *Session, in *flow.Receiver, h callHeader) *served {
	c := &served{s: s, in: in, priority: h.priority}
	c.ctx.in = in
	if h.timeout > 0 {
		c.ctx.deadline = time.Now().Add(h.timeout)
	}
	c.req = Request{Session: s, Method: h.method, Metadata: h.metadata}
	return c
}

// run handles the call from its arrival to its end.
func (c *served) run(fn handler) {
	defer c.s.e.calls.leave(c)
	defer c.ctx.finish()
	defer c.in.Reject(0) // the caller need not keep its flow open any more
	defer c.releaseOwn()
	defer c.releaseShared()
	defer c.s.e.calls.returned(c)
	if fn.call != nil && !c.receive() || !c.begin() || c.ctx.Err() != nil {
		return
	}
	if fn.stream != nil {
		c.runStream(fn.stream)
		return
	}
	resp, st := c.runCall(fn.call)
	c.releaseShared()
	if out := c.answer(resp, st); out != nil && len(resp) > smallAnswer {
		c.deliver(out, len(resp))
	}
}

// receive waits for the request. It reports false if that is not to be handled.
func (c *served) receive() bool {
	m, err := c.in.Recv(atHand)
	if err != nil && c.in.Err() == nil {
		c.s.e.calls.await(c)
		m, err = c.in.Recv(&c.ctx)
		if !c.s.e.calls.came(c) {
			return false // the caller has been told
		}
	}
	if err == nil && m.More { // requests do not come in parts
		c.answer(nil, callStatus{code: CallInternal, text: errCallHeader.Error()})
		return false
	}
	if err == nil && len(m.Data) <= c.s.e.cfg.maxRequest() {
		c.req.Data = m.Data
		return true
	}
	if err == nil || isTooLarge(err) {
		c.answer(nil, callStatus{code: CallTooLarge, text: fmt.Sprintf("requests have at most %d bytes", c.s.e.cfg.maxRequest())})
	}
	return false
}

// runCall runs a handler. A panic in it is the caller's to know and ours to log, but does not end the program: one
// peer's request must not cost the others their sessions.
func (c *served) runCall(fn HandlerFunc) (resp []byte, st callStatus) {
	returned := false
	defer func() {
		if !returned {
			resp, st = nil, c.unwound(recover())
		}
	}()
	resp, err := fn(&c.ctx, &c.req)
	returned = true
	return resp, statusOf(err)
}

// unwound is what the caller is told of a handler that panicked. p is nil if it has ended its goroutine instead, which
// goes on to end: then the caller is told here.
func (c *served) unwound(p any) callStatus {
	st := callStatus{code: CallInternal, ran: true, text: "the handler panicked"}
	if p == nil {
		p = "runtime.Goexit"
		defer c.answer(nil, st)
	}
	c.s.log.Error("handler panicked", slog.String("method", c.req.Method), slog.Any("panic", p),
		slog.String("stack", string(debug.Stack())))
	return st
}

// answer sends what the handler has returned, unless nobody waits for it. It returns the flow that a response is on its
// way on.
func (c *served) answer(resp []byte, st callStatus) *flow.Sender {
	if c.ctx.Err() != nil {
		return nil
	}
	if st.code != 0 {
		c.s.refuseCall(c.in, c.priority, st)
		return nil
	}
	out, err := c.s.mux.Open("", &flow.Options{Priority: c.priority, Answers: c.in})
	if err != nil {
		return nil // the session is over
	}
	if _, err = out.TrySend(resp); err != nil { // nothing is buffered: it does not block
		out.Abort(0)
		if isTooLarge(err) {
			c.answer(nil, callStatus{code: CallTooLarge, ran: true, text: err.Error()})
		}
		return nil
	}
	_ = out.Close(atHand)
	return out
}

const (
	smallAnswer = 1 << 10 // bytes of an answer that need not be accounted for
	maxOwed     = 1 << 20 // bytes of answers on their way to one peer beyond which no more handlers run for it
)

// deliver waits until the caller has the answer, of n bytes, or does not want it any more. Until then it takes up memory,
// and the call its place; also that of a handler, if there is much that the peer does not take.
func (c *served) deliver(out *flow.Sender, n int) {
	c.ctx.finish() // the handler has returned
	desk := &c.s.e.calls
	if !desk.owe(&c.s.calls, n) {
		c.releaseOwn()
	}
	defer desk.owe(&c.s.calls, -n)
	wait := handlerContext{in: c.in, deadline: c.ctx.deadline}
	defer wait.finish()
	if out.Close(&wait) != nil {
		out.Abort(0)
	}
}
