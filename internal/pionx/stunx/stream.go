// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// DefaultMaxFrame is the largest frame a [StreamConn] accepts by default: room for an Ethernet packet.
	DefaultMaxFrame = 2048
	// DefaultWriteTimeout is how long a [StreamConn] lets a peer stall one write.
	DefaultWriteTimeout = 5 * time.Second
)

// Errors of the stream framing. Each ends the stream: after a bad frame nothing says where the next one starts.
var (
	ErrFrame     = errors.New("stunx: neither STUN nor channel data on the stream")
	ErrFrameSize = errors.New("stunx: frame larger than allowed")
	ErrNotSane   = errors.New("stunx: malformed message on the stream")
)

// FrameSize reads the four bytes at the start of a frame of a TURN stream (RFC 8656 §12.5, RFC 8489 §6.2.2) and
// returns the frame's length and the number of bytes it takes on the wire, which is more when channel data is padded
// to four. Sizes are ints: the largest declarable frame is 65,555 bytes and does not wrap.
func FrameSize(head [4]byte) (length, wire int, err error) {
	n := int(binary.BigEndian.Uint16(head[2:]))
	switch head[0] >> 6 {
	case 0: // STUN
		if n&3 != 0 {
			return 0, 0, ErrFrame
		}
		return HeaderSize + n, HeaderSize + n, nil
	case 1: // channel data
		return 4 + n, pad4(4 + n), nil
	}
	return 0, 0, ErrFrame
}

// A StreamConn makes a TURN stream (TCP or TLS) look like the packet connection that STUN code expects: one frame
// per read, one per write. It is the filter of a stream as well: frames larger than the limit, bytes that are no
// frame and messages that are not [Sane] fail the read with an error and close the connection.
//
// ReadFrom must be called by one goroutine at a time; the other methods may be called by any.
type StreamConn struct {
	c       net.Conn
	r       *bufio.Reader // owned by the reader
	max     int
	timeout time.Duration

	mu  sync.Mutex // orders writes: frames must not interleave
	out []byte     // padding buffer, under mu
}

// NewStreamConn takes over c. maxFrame limits frames in both directions; 0 means [DefaultMaxFrame].
func NewStreamConn(c net.Conn, maxFrame int) *StreamConn {
	if maxFrame <= 0 {
		maxFrame = DefaultMaxFrame
	}
	return &StreamConn{c: c, r: bufio.NewReaderSize(c, max(maxFrame, 4096)), max: maxFrame, timeout: DefaultWriteTimeout}
}

// ReadFrom reads one frame into b, without its padding, and returns the remote address. A frame that does not fit
// into b is skipped.
func (s *StreamConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, err := s.next(b)
		if err != nil {
			s.c.Close()
			return 0, nil, err
		}
		if n > 0 {
			return n, s.c.RemoteAddr(), nil
		}
	}
}

func (s *StreamConn) next(b []byte) (int, error) {
	p, err := s.r.Peek(4)
	if err != nil {
		return 0, err
	}
	length, wire, err := FrameSize([4]byte(p))
	if err != nil {
		return 0, err
	}
	if wire > s.max {
		return 0, ErrFrameSize
	}
	if p, err = s.r.Peek(wire); err != nil {
		return 0, err
	}
	frame := p[:length]
	if frame[0]>>6 == 0 && !Sane(frame) {
		return 0, ErrNotSane
	}
	n := 0
	if length <= len(b) {
		n = copy(b, frame)
	}
	_, err = s.r.Discard(wire)
	return n, err
}

// WriteTo writes one frame; the address is ignored. Channel data is padded to a multiple of four as streams require.
// A write that the remote side stalls for [DefaultWriteTimeout] fails, and any failed write closes the connection: a
// frame cut short cannot be repaired.
func (s *StreamConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	if len(b) < 4 || len(b) > s.max {
		return 0, ErrFrameSize
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := b
	if pad4(len(b)) != len(b) {
		s.out = append(s.out[:0], b...)
		p = append(s.out, 0, 0, 0)[:pad4(len(b))]
		s.out = p
	}
	s.c.SetWriteDeadline(time.Now().Add(s.timeout))
	if _, err := s.c.Write(p); err != nil {
		s.c.Close()
		return 0, err
	}
	return len(b), nil
}

// Close closes the connection.
func (s *StreamConn) Close() error { return s.c.Close() }

// LocalAddr returns the connection's local address.
func (s *StreamConn) LocalAddr() net.Addr { return s.c.LocalAddr() }

// RemoteAddr returns the address that every frame comes from.
func (s *StreamConn) RemoteAddr() net.Addr { return s.c.RemoteAddr() }

// SetDeadline sets the read deadline; writes have their own (see WriteTo).
func (s *StreamConn) SetDeadline(t time.Time) error { return s.c.SetReadDeadline(t) }

// SetReadDeadline sets the read deadline. A read that misses it closes the connection.
func (s *StreamConn) SetReadDeadline(t time.Time) error { return s.c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: every write has its own deadline.
func (s *StreamConn) SetWriteDeadline(time.Time) error { return nil }
