// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A CallStream is the caller's end of a streaming call: any number of messages in each direction, in order. Its
// methods may be called from multiple goroutines.
type CallStream struct {
	s    *Session
	most int // size of the largest message to take
	stop func() bool

	recvMu chan struct{} // holds a token while a Recv is in progress

	mu   sync.Mutex
	c    call
	over error // why Recv fails from now on
}

// CallStream starts a streaming call of a method (see [Endpoint.HandleStream]). It does not wait for the peer.
//
// ctx bounds the whole call, not only the wait for something: its deadline reaches the handler, and when it ends first,
// the call and the handler's context end too. The call must be ended by receiving until an error comes, by Close or by
// ctx. The handler is started at most once.
func (s *Session) CallStream(ctx context.Context, method string, o *CallOptions) (*CallStream, error) {
	c, err := s.openCall(ctx, method, o, true)
	if err != nil {
		return nil, err
	}
	st := &CallStream{s: s, c: c, recvMu: make(chan struct{}, 1), most: s.e.cfg.maxMessage()}
	if o != nil && o.MaxResponse > 0 {
		st.most = o.MaxResponse
	}
	c.out.Announce()
	st.mu.Lock() // ctx may end at once
	defer st.mu.Unlock()
	st.stop = context.AfterFunc(ctx, func() { st.giveUp(contextCode(ctx.Err()), ctx.Err()) })
	return st, nil
}

// Send sends a message to the handler. msg is copied. It blocks while the handler is slow to receive; ctx bounds that
// wait and nothing else. io.EOF says that the call is over: Recv says why.
func (st *CallStream) Send(ctx context.Context, msg []byte) error {
	return st.send(ctx, callMessage, msg)
}

// CloseSend says that no more messages follow: the handler's Recv returns io.EOF after those sent. It does not wait
// for that, but may block as Send does.
func (st *CallStream) CloseSend(ctx context.Context) error { return st.send(ctx, callEnd, nil) }

func (st *CallStream) send(ctx context.Context, kind byte, msg []byte) error {
	st.mu.Lock()
	out, over := st.c.out, st.over
	st.mu.Unlock()
	if over != nil {
		return io.EOF
	}
	err := sendTagged(ctx, out, kind, msg)
	switch ended := ctx.Err(); {
	case err == nil || ended != nil && errors.Is(err, ended):
		return err
	case isTooLarge(err):
		return st.c.fail(CallTooLarge, true, err)
	}
	return io.EOF
}

// Recv returns the next message of the handler, which is the caller's. ctx bounds the wait and nothing else. After the
// last it returns io.EOF if the handler returned nil, and a [*CallError] otherwise.
func (st *CallStream) Recv(ctx context.Context) ([]byte, error) {
	if err := takeTurn(ctx, st.recvMu); err != nil {
		return nil, err
	}
	defer func() { <-st.recvMu }()
	msg, err := st.recv(ctx)
	if err == nil || waitOver(ctx, err) {
		return msg, err
	}
	return nil, st.finish(err)
}

// recv returns a message, why the call is over, or ctx's error.
func (st *CallStream) recv(ctx context.Context) ([]byte, error) {
	st.mu.Lock()
	c, over := st.c, st.over
	st.mu.Unlock()
	if over != nil {
		return nil, over
	}
	if c.in == nil {
		in, err := c.out.AcceptReturn(ctx)
		if err != nil {
			return nil, st.lost(ctx, &c, err)
		}
		c.in = in
		st.mu.Lock()
		st.c.in = in
		over = st.over
		st.mu.Unlock()
		if over != nil { // meanwhile
			in.Reject(0)
			return nil, over
		}
		if err := c.refusal(); err != nil {
			return nil, err
		}
	}
	m, err := c.in.Recv(ctx)
	if err != nil {
		return nil, st.lost(ctx, &c, err)
	}
	kind, data, err := untag(&m)
	switch {
	case err != nil:
		return nil, c.fail(CallInternal, true, err)
	case kind == callMessage && len(data) > st.most:
		return nil, c.tooLarge(len(data), st.most)
	case kind == callMessage:
		return data, nil
	}
	status, err := parseCallStatus(data)
	switch {
	case err != nil:
		return nil, c.fail(CallInternal, true, err)
	case status.code != 0:
		return nil, c.failed(status)
	}
	return nil, io.EOF
}

// lost is what the failure of a flow means: that the call is over, unless only the wait is.
func (st *CallStream) lost(ctx context.Context, c *call, err error) error {
	if waitOver(ctx, err) {
		return err
	}
	st.mu.Lock()
	over := st.over
	st.mu.Unlock()
	if over != nil { // that is why the flow has failed
		return over
	}
	return c.lost(context.Background(), st.s, err)
}

// Close ends the call: if it is not over, the handler's context is cancelled. Recv fails from now on.
func (st *CallStream) Close() error {
	st.giveUp(CallCanceled, context.Canceled)
	return nil
}

// giveUp ends the call, unless it is over already, because it is not wanted any more.
func (st *CallStream) giveUp(code CallCode, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over == nil {
		st.finishLocked(st.c.fail(code, st.c.giveUp(st.s, code), err))
	}
}

// finish ends the call because of err, unless it is over already, and returns why it is.
func (st *CallStream) finish(err error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over == nil {
		st.finishLocked(err)
	}
	return st.over
}

func (st *CallStream) finishLocked(err error) {
	st.over = err
	st.stop()
	st.c.end(err)
}

// waitOver says whether err is that a wait has ended with its context. How a call ended may match the context's error,
// but is another.
func waitOver(ctx context.Context, err error) bool {
	return err != nil && err == ctx.Err() //nolint:errorlint // those who wait return it as it is
}

// A HandlerStream is the handler's end of a streaming call. Its methods may be called from multiple goroutines, until
// the handler has returned.
type HandlerStream struct {
	c    *served
	out  *flow.Sender
	most int

	recvMu chan struct{} // holds a token while a Recv is in progress, and protects eof
	eof    bool          // the caller sends no more
}

// Request returns the call. It has no Data.
func (st *HandlerStream) Request() *Request { return &st.c.req }

// Send sends a message to the caller. msg is copied. It blocks while the caller is slow to receive; ctx bounds that
// wait and nothing else. It fails when the call is over.
func (st *HandlerStream) Send(ctx context.Context, msg []byte) error {
	return sendTagged(ctx, st.out, callMessage, msg)
}

// takeTurn puts a token into turn, which has room for one. It does not look at ctx if there is room at once: what is at
// hand is returned even if ctx has ended.
func takeTurn(ctx context.Context, turn chan<- struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Recv returns the next message of the caller, which is the handler's. ctx bounds the wait and nothing else. After the
// caller's CloseSend it returns io.EOF; it fails when the call is over.
func (st *HandlerStream) Recv(ctx context.Context) ([]byte, error) {
	// One after the other, or who waits at the end would not be told of it.
	if err := takeTurn(ctx, st.recvMu); err != nil {
		return nil, err
	}
	defer func() { <-st.recvMu }()
	if st.eof {
		return nil, io.EOF
	}
	m, err := st.c.in.Recv(ctx)
	if err != nil {
		return nil, err
	}
	kind, data, err := untag(&m)
	switch {
	case err != nil:
		return nil, err
	case kind == callEnd:
		st.eof = true
		return nil, io.EOF
	case len(data) > st.most:
		return nil, Errorf(CallTooLarge, "messages have at most %d bytes", st.most)
	}
	return data, nil
}

// runStream runs the handler of a streaming call and tells the caller how it ended.
func (c *served) runStream(fn StreamHandlerFunc) {
	out, err := c.s.mux.Open("", &flow.Options{Priority: c.priority, Answers: c.in})
	if err != nil {
		return // the session is over
	}
	done := false
	defer func() {
		if !done { // the caller does not want to know, or must not take what it has got for all
			out.Abort(0)
		}
	}()
	hs := &HandlerStream{c: c, out: out, most: c.s.e.cfg.maxRequest(), recvMu: make(chan struct{}, 1)}
	st := c.runStreamHandler(fn, hs)
	c.s.e.calls.returned(c)
	c.releaseShared()
	if c.ctx.Err() == nil {
		err = sendTagged(&c.ctx, out, callEnd, st.append(nil))
	}
	if done = err == nil && c.ctx.Err() == nil; done {
		c.deliver(out, maxOwed)
	}
}

// runStreamHandler is runCall for streams.
func (c *served) runStreamHandler(fn StreamHandlerFunc, hs *HandlerStream) (st callStatus) {
	returned := false
	defer func() {
		if !returned {
			st = c.unwound(recover())
		}
	}()
	err := fn(&c.ctx, hs)
	returned = true
	return statusOf(err)
}

// tagged holds the buffers in which messages get their first byte.
var tagged = sync.Pool{New: func() any { return new([]byte) }}

// maxTagged is the size above which a buffer is not kept.
const maxTagged = 64 << 10

// sendTagged sends a message of a streaming call.
func sendTagged(ctx context.Context, out *flow.Sender, kind byte, msg []byte) error {
	buf := tagged.Get().(*[]byte)
	b := append(append((*buf)[:0], kind), msg...)
	_, err := out.Send(ctx, b)
	if cap(b) <= maxTagged {
		*buf = b
		tagged.Put(buf)
	}
	return err
}

// untag takes the first byte off a message. Messages of calls do not come in parts.
func untag(m *flow.Message) (kind byte, msg []byte, err error) {
	if len(m.Data) == 0 || m.Data[0] > callEnd || m.More {
		return 0, nil, errCallHeader
	}
	return m.Data[0], m.Data[1:], nil
}

func isTooLarge(err error) bool { return errors.Is(err, flow.ErrTooLarge) }
