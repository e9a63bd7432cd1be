// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// maxStreamMessage is how many bytes of a Write become one message.
const maxStreamMessage = 16 << 10

// A Stream is a pair of flows used as a byte stream in both directions. Message boundaries mean nothing in it. Together
// with addresses it makes a net.Conn. Its methods may be called from any goroutine; concurrent Writes are not
// interleaved, and neither are concurrent Reads.
//
// A deadline that passes makes Read and Write fail with an error that matches [context.DeadlineExceeded] and whose
// Timeout method returns true. A Write that failed may have taken some of its bytes, whose number it returns.
type Stream struct {
	sender        *Sender // nil: nothing can be written
	readDeadline  deadline
	writeDeadline deadline

	writeMu chan struct{} // holds a token while a Write is in progress
	readMu  chan struct{} // likewise for Read, and protects what follows

	receiver *Receiver // nil: not yet there, to be had from sender
	msg      Message   // the last one received
	rest     []byte    // of it

	next uint64 // number of the next message

	closeMu sync.Mutex
	closed  bool
}

// NewStream returns the stream made of s and r. If r is nil it is the first answer to s, which Read waits for; s must
// have been opened with Options.Returns of at least 1. If s is nil the stream can only be read: Write fails with
// [ErrClosed]. The stream owns both.
func NewStream(s *Sender, r *Receiver) *Stream {
	st := &Stream{sender: s, receiver: r, writeMu: make(chan struct{}, 1), readMu: make(chan struct{}, 1)}
	st.readDeadline.set(time.Time{})
	st.writeDeadline.set(time.Time{})
	return st
}

// acquire takes a lock that a deadline can interrupt waiting for.
func acquire(ctx context.Context, mu chan struct{}) error {
	select {
	case mu <- struct{}{}:
		return nil
	default:
	}
	select {
	case mu <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Read reads up to len(p) bytes. It returns io.EOF after the peer's CloseWrite or Close.
func (st *Stream) Read(p []byte) (int, error) {
	var n int
	err := st.readDeadline.do(func(ctx context.Context) (err error) {
		if err := acquire(ctx, st.readMu); err != nil {
			return err
		}
		defer func() { <-st.readMu }()
		n, err = st.read(ctx, p)
		return err
	})
	return n, err
}

func (st *Stream) read(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if st.isClosed() {
		return 0, ErrClosed
	}
	if st.receiver == nil {
		r, err := st.sender.AcceptReturn(ctx)
		if err != nil {
			return 0, err
		}
		st.closeMu.Lock()
		st.receiver = r
		closed := st.closed
		st.closeMu.Unlock()
		if closed {
			r.Reject(0)
			return 0, ErrClosed
		}
	}
	for len(st.rest) == 0 {
		msg, err := st.receiver.Recv(ctx)
		if err != nil {
			return 0, err
		}
		if msg.Seq != st.next {
			// The peer has abandoned what was between, which no Stream does.
			st.receiver.Reject(uint64(wire.CodeFlowState))
			return 0, fmt.Errorf("flow: stream with a gap: %w", io.ErrUnexpectedEOF)
		}
		st.next++
		if len(msg.Data) == 0 {
			msg.Release()
			continue
		}
		st.msg, st.rest = msg, msg.Data
	}
	n := copy(p, st.rest)
	if st.rest = st.rest[n:]; len(st.rest) == 0 {
		st.msg.Release()
	}
	return n, nil
}

// Write writes p. It blocks while the flow's send buffer is full.
func (st *Stream) Write(p []byte) (int, error) {
	if st.sender == nil {
		return 0, ErrClosed
	}
	// Kept when the deadline moves, or another Write would get in between.
	if err := st.writeDeadline.do(func(ctx context.Context) error { return acquire(ctx, st.writeMu) }); err != nil {
		return 0, err
	}
	defer func() { <-st.writeMu }()
	var n int
	err := st.writeDeadline.do(func(ctx context.Context) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for n < len(p) {
			k := min(len(p)-n, maxStreamMessage)
			if _, err := st.sender.Send(ctx, p[n:n+k]); err != nil {
				return err
			}
			n += k
		}
		return nil
	})
	return n, err
}

// CloseWrite ends the stream in this direction: the peer's Read returns io.EOF after what has been written. It does not
// wait for that.
func (st *Stream) CloseWrite() error {
	if st.sender == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := st.sender.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close ends both directions: what has been written still goes out, what arrives from now on is refused. It does not
// wait; it unblocks Read and Write. Closing again has no effect.
func (st *Stream) Close() error {
	st.closeMu.Lock()
	was := st.closed
	st.closed = true
	r := st.receiver
	st.closeMu.Unlock()
	if was {
		return nil
	}
	if st.sender != nil {
		st.sender.RefuseReturns()
	}
	if r != nil {
		r.Reject(0)
	}
	_ = st.CloseWrite() // that the peer has refused more, or is gone, is no failure to close
	st.readDeadline.stop(ErrClosed)
	st.writeDeadline.stop(ErrClosed)
	return nil
}

func (st *Stream) isClosed() bool {
	st.closeMu.Lock()
	defer st.closeMu.Unlock()
	return st.closed
}

// SetDeadline sets the time after which Read and Write fail, also those in progress. The zero time means never.
func (st *Stream) SetDeadline(t time.Time) error {
	st.readDeadline.set(t)
	st.writeDeadline.set(t)
	return nil
}

// SetReadDeadline sets the time after which Read fails.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.readDeadline.set(t)
	return nil
}

// SetWriteDeadline sets the time after which Write fails.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	st.writeDeadline.set(t)
	return nil
}

// errDeadlineMoved ends the use of a deadline that another has replaced.
var errDeadlineMoved = errors.New("flow: deadline moved")

// A deadline is a context that can be exchanged while it is in use.
type deadline struct {
	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // net.Conn keeps deadlines where others pass contexts
	cancel  context.CancelCauseFunc
	timer   context.CancelFunc
	stopped bool
}

// set makes t the deadline. Whoever uses the old one is made to look again.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	old, oldTimer := d.cancel, d.timer
	parent, cancel := context.WithCancelCause(context.Background())
	d.ctx, d.cancel, d.timer = parent, cancel, nil
	if !t.IsZero() {
		d.ctx, d.timer = context.WithDeadline(parent, t)
	}
	if old != nil {
		old(errDeadlineMoved)
	}
	if oldTimer != nil {
		oldTimer()
	}
}

// stop ends all use for good.
func (d *deadline) stop(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	old, oldTimer := d.cancel, d.timer
	// A context that has ended already keeps its cause: another says that this is the end.
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	d.timer = nil
	d.cancel(err)
	old(err)
	if oldTimer != nil {
		oldTimer()
	}
}

// do calls f with the deadline's context, again whenever the deadline has been moved meanwhile.
func (d *deadline) do(f func(ctx context.Context) error) error {
	for {
		d.mu.Lock()
		ctx := d.ctx
		d.mu.Unlock()
		err := f(ctx)
		if err == nil || errors.Is(err, io.EOF) || ctx.Err() == nil {
			return err
		}
		if !errors.Is(err, ctx.Err()) && !errors.Is(err, errDeadlineMoved) {
			return err // f failed for another reason
		}
		switch cause := context.Cause(ctx); {
		case errors.Is(cause, errDeadlineMoved):
		case errors.Is(cause, ErrClosed):
			return ErrClosed
		default:
			return cause
		}
	}
}
