// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// CallOptions are what a call has besides its request. The zero value, and a nil *CallOptions, is a call at Routine
// priority that is never made twice.
type CallOptions struct {
	// Idempotent says that the method may run more than once without harm. [Endpoint.Call] then makes the call again
	// when the session ended before the answer came. Nothing else depends on it.
	Idempotent bool

	// Priority places request and answer among the other flows of the session.
	Priority flow.Priority

	// Metadata reaches the handler with the request. At most [MaxCallMetadata] bytes.
	Metadata []byte

	// MaxResponse is the size in bytes of the largest response to take, and of the largest message on a stream of
	// messages. Zero or less means [Config.MaxMessage].
	MaxResponse int
}

// Call asks the peer to run a method, and returns what the peer's handler (see [Endpoint.Handle]) has returned. The
// response is the caller's. req is copied before Call waits. A nil o means the zero CallOptions.
//
// ctx bounds the call: its deadline reaches the handler, and when it ends first, the handler's context ends too.
// Without a deadline a call may take as long as the session lives.
//
// The handler is started at most once, when the whole request has arrived. An error is a [*CallError], which says whether
// the handler may have been started; Call itself never tries again. A small call costs one round trip. Calls run side by
// side: one does not wait for another, and they are handled in no particular order.
func (s *Session) Call(ctx context.Context, method string, req []byte, o *CallOptions) ([]byte, error) {
	c, err := s.openCall(ctx, method, o, false)
	if err != nil {
		return nil, err
	}
	if c.receipt, err = c.out.TrySend(req); err != nil { // nothing is buffered: it does not block
		c.out.Abort(0)
		if errors.Is(err, flow.ErrTooLarge) {
			return nil, c.fail(CallTooLarge, false, err)
		}
		return nil, c.fail(CallDisconnected, false, s.reason(err))
	}
	resp, err := c.response(ctx, s, o)
	// Whatever is left of the two flows is of no use to anybody any more.
	c.end(err)
	return resp, err
}

// A call is the caller's end of one.
type call struct {
	method  string
	out     *flow.Sender
	receipt *flow.Receipt  // of the request; nil on a streaming call
	in      *flow.Receiver // nil until the peer answers
}

// openCall opens the flow that carries a request.
func (s *Session) openCall(ctx context.Context, method string, o *CallOptions, stream bool) (c call, err error) {
	c.method = method
	if o == nil {
		o = &CallOptions{}
	}
	if len(method) > MaxMethod || len(o.Metadata) > MaxCallMetadata {
		return c, c.fail(CallTooLarge, false, fmt.Errorf("method of %d and metadata of %d bytes, at most %d and %d may be",
			len(method), len(o.Metadata), MaxMethod, MaxCallMetadata))
	}
	if err := ctx.Err(); err != nil {
		return c, c.fail(contextCode(err), false, err)
	}
	h := callHeader{stream: stream, priority: o.Priority, method: method, metadata: o.Metadata}
	if deadline, ok := ctx.Deadline(); ok {
		h.timeout = max(time.Until(deadline), time.Millisecond)
	}
	var buf [flow.MaxMetadata]byte
	c.out, err = s.mux.Open(callLabel, &flow.Options{Priority: o.Priority, Metadata: h.append(buf[:0]), Returns: 1})
	if err != nil {
		return c, c.fail(CallDisconnected, false, s.reason(err))
	}
	return c, nil
}

// response waits for what the handler returns.
func (c *call) response(ctx context.Context, s *Session, o *CallOptions) ([]byte, error) {
	var err error
	if c.in, err = c.out.AcceptReturn(ctx); err != nil {
		return nil, c.lost(ctx, s, err)
	}
	if err := c.refusal(); err != nil {
		return nil, err
	}
	m, err := c.in.Recv(ctx)
	if err != nil {
		return nil, c.lost(ctx, s, err)
	}
	if m.More { // responses do not come in parts
		return nil, c.fail(CallInternal, true, errCallHeader)
	}
	if o != nil && o.MaxResponse > 0 && len(m.Data) > o.MaxResponse {
		return nil, c.tooLarge(len(m.Data), o.MaxResponse)
	}
	return m.Data, nil
}

// refusal returns the error that came in place of an answer, if one did.
func (c *call) refusal() error {
	if len(c.in.Metadata()) == 0 {
		return nil
	}
	st, err := parseCallStatus(c.in.Metadata())
	if err != nil {
		return c.fail(CallInternal, true, err)
	}
	return c.failed(st)
}

// failed is the error that a status stands for.
func (c *call) failed(st callStatus) error {
	return &CallError{Method: c.method, Code: st.code, Message: st.text, MayHaveRun: st.ran}
}

func (c *call) fail(code CallCode, ran bool, err error) error {
	return &CallError{Method: c.method, Code: code, MayHaveRun: ran, Err: err}
}

func (c *call) tooLarge(n, limit int) error {
	return c.fail(CallTooLarge, true, fmt.Errorf("%d bytes came, at most %d may", n, limit))
}

// lost is the error for an answer that does not come. It withdraws the request.
func (c *call) lost(ctx context.Context, s *Session, err error) error {
	code := CallInternal                                                            // the peer has ended a flow in the middle of the call
	if rejected, ok := errors.AsType[*flow.RejectedError](err); ok && c.in == nil { // by who does not answer it
		code = CallNotFound // a peer that knows no calls
		if rejected.Code == uint64(wire.CodeFlowRefused) {
			code = CallUnavailable
		}
		return c.fail(code, false, err)
	}
	switch ended := ctx.Err(); {
	case ended != nil && errors.Is(err, ended):
		code = contextCode(err)
	case errors.Is(err, flow.ErrTooLarge):
		code = CallTooLarge
	case overBy(err):
		code, err = CallDisconnected, s.reason(err)
	}
	return c.fail(code, c.giveUp(s, code), err)
}

// giveUp withdraws the request and says whether the handler may have been started: on the whole request, or, on a
// streaming call, on anything. Nothing is sent any more when it returns.
func (c *call) giveUp(s *Session, code CallCode) (mayHaveRun bool) {
	sent := c.out.Begun
	if c.receipt != nil {
		sent = c.receipt.Sent
	}
	c.out.Abort(uint64(code))
	if !sent() { // unless the loop is about to
		seen := make(chan struct{})
		if s.post(func(now time.Time) { s.mux.Collect(now); close(seen) }) {
			<-seen
		}
	}
	return sent()
}

// end gives up both flows of a call that is over because of err.
func (c *call) end(err error) {
	code := uint64(0)
	if ce := (*CallError)(nil); errors.As(err, &ce) {
		code = uint64(ce.Code)
	}
	c.out.Abort(code)
	if c.in != nil {
		c.in.Reject(code)
	}
}

func contextCode(err error) CallCode {
	if errors.Is(err, context.DeadlineExceeded) {
		return CallDeadline
	}
	return CallCanceled
}

// overBy says whether err, which a flow has failed with, is that the session is over.
func overBy(err error) bool {
	var aborted *flow.AbortedError
	var rejected *flow.RejectedError
	return !errors.As(err, &aborted) && !errors.As(err, &rejected) && !errors.Is(err, flow.ErrClosed) &&
		!errors.Is(err, io.EOF)
}

// reason returns why the session ended, if it has, and err otherwise.
func (s *Session) reason(err error) error {
	if over := s.Err(); over != nil {
		return over
	}
	return err
}

// maxCallAttempts bounds how often Endpoint.Call makes a call.
const maxCallAttempts = 4

// Call is [Session.Call] on the session with a peer, which is dialled if there is none. The request travels with the
// first packet that can carry it: a call to a peer that has to be dialled costs the dialling and one round trip.
//
// When the session ends before the answer, Call dials and tries again if the handler cannot have been started, or if
// the call is [CallOptions].Idempotent; at most three times, within ctx.
func (e *Endpoint) Call(ctx context.Context, id ID, method string, req []byte, o *CallOptions) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, &CallError{Method: method, Code: contextCode(err), Err: err}
	}
	for attempt := 1; ; attempt++ {
		s, err := e.connect(Target{ID: id}, false)
		if err != nil {
			return nil, &CallError{Method: method, Code: CallDisconnected, Err: err}
		}
		resp, err := s.Call(ctx, method, req, o)
		e.dialled(s, err != nil && !s.isReady())
		var ce *CallError
		if err == nil || !errors.As(err, &ce) || ce.Code != CallDisconnected || attempt == maxCallAttempts ||
			ce.MayHaveRun && (o == nil || !o.Idempotent) || ce.Err == nil { // a handler may return that code too
			return resp, err
		}
		select {
		case <-s.done:
		case <-ctx.Done():
			return nil, err
		}
		select {
		case <-s.ready: // it was established and has ended: another try may do better
		default:
			return nil, err
		}
	}
}
