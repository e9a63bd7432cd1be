// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A Stream is a reliable stream of bytes in both directions: a [net.Conn] made of two flows of a session. Its methods
// may be called from multiple goroutines; concurrent Writes are not interleaved.
//
// Errors other than [io.EOF] are [*net.OpError]s. In them is [os.ErrDeadlineExceeded] after a deadline, [net.ErrClosed]
// after Close on this side, a [*flow.RejectedError] if the peer has closed or refused the stream, and otherwise why the
// session ended.
type Stream struct {
	st    *flow.Stream
	s     *Session
	label string
}

var _ net.Conn = (*Stream)(nil)

// OpenStream opens a stream to the peer under a label that tells the peer what it is for. It does not wait for the
// peer to accept it. Labels have at most [flow.MaxLabel] bytes; those that begin with "runnel." are reserved. It fails
// with [flow.ErrTooLarge] or the error that ended the session. The stream must be closed.
func (s *Session) OpenStream(label string) (*Stream, error) {
	if strings.HasPrefix(label, reservedPrefix) {
		return nil, errReserved
	}
	out, err := s.mux.Open(label, &flow.Options{Stream: true, Returns: 1})
	if err != nil {
		return nil, err
	}
	out.Announce() // so that the peer may be the first to speak
	return &Stream{flow.NewStream(out, nil), s, label}, nil
}

// AcceptStream waits for the next stream that the peer has opened and that no [Listener] is for. When the session is
// over, streams that have arrived are still returned, to be read only, before its error is.
func (s *Session) AcceptStream(ctx context.Context) (*Stream, error) {
	in, err := s.arrived.streams.accept(ctx)
	if err != nil {
		return nil, err
	}
	return s.answerStream(in), nil
}

// answerStream completes a stream of which the peer has opened its half. If the session is over there is none but that.
func (s *Session) answerStream(in *flow.Receiver) *Stream {
	out, _ := s.mux.Open(in.Label(), &flow.Options{Stream: true, Answers: in})
	return &Stream{flow.NewStream(out, in), s, in.Label()}
}

// Label returns the label that the stream was opened under.
func (st *Stream) Label() string { return st.label }

// Session returns the session that the stream belongs to.
func (st *Stream) Session() *Session { return st.s }

// Read reads up to len(p) bytes. It returns [io.EOF] after the peer has closed the stream, or its writing half, and
// everything has been read. It blocks until there is something.
func (st *Stream) Read(p []byte) (int, error) {
	n, err := st.st.Read(p)
	return n, st.wrap("read", err)
}

// Write writes p, which is copied. It blocks while the stream's send buffer is full. That it returns nil does not mean
// that the peer has read it.
func (st *Stream) Write(p []byte) (int, error) {
	n, err := st.st.Write(p)
	return n, st.wrap("write", err)
}

// CloseWrite ends the stream in this direction: the peer reads what has been written and then io.EOF.
func (st *Stream) CloseWrite() error { return st.wrap("close", st.st.CloseWrite()) }

// Close ends both directions. What has been written is still delivered as long as the session lives.
func (st *Stream) Close() error { return st.wrap("close", st.st.Close()) }

// SetDeadline sets when Read and Write fail with an error that is [os.ErrDeadlineExceeded], also if they wait
// already. The zero time means never.
func (st *Stream) SetDeadline(t time.Time) error { return st.st.SetDeadline(t) }

// SetReadDeadline is SetDeadline for Read.
func (st *Stream) SetReadDeadline(t time.Time) error { return st.st.SetReadDeadline(t) }

// SetWriteDeadline is SetDeadline for Write.
func (st *Stream) SetWriteDeadline(t time.Time) error { return st.st.SetWriteDeadline(t) }

// LocalAddr returns the ID of this endpoint as an address.
func (st *Stream) LocalAddr() net.Addr { return Addr{st.s.e.id} }

// RemoteAddr returns the ID of the peer as an address.
func (st *Stream) RemoteAddr() net.Addr { return Addr{st.s.id} }

// wrap makes errors what users of a net.Conn expect.
func (st *Stream) wrap(op string, err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.As(err, new(*DialError)): // a deadline may have been missed, but it is not the stream's
	case errors.Is(err, context.DeadlineExceeded):
		err = os.ErrDeadlineExceeded
	case errors.Is(err, flow.ErrClosed):
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: network, Source: st.LocalAddr(), Addr: st.RemoteAddr(), Err: err}
}

const network = "runnel"

// An Addr is a peer's ID as a [net.Addr].
type Addr struct{ ID ID }

// Network returns "runnel".
func (Addr) Network() string { return network }

// String returns the text form of the ID.
func (a Addr) String() string { return a.ID.String() }
