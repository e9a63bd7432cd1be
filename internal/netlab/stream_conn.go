// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"io"
	"net"
	"os"
	"time"
)

// Read reads what has come.
func (s *stream) Read(b []byte) (int, error) {
	expired := s.read.channel()
	for {
		select { // a deadline that has passed wins
		case <-expired:
			return 0, s.opError("read", os.ErrDeadlineExceeded)
		default:
		}
		s.mu.Lock()
		switch {
		case s.closed:
			s.mu.Unlock()
			return 0, s.opError("read", net.ErrClosed)
		case len(s.ready) > 0 || len(b) == 0:
			before := s.room()
			n := copy(b, s.ready)
			if s.ready = s.ready[n:]; len(s.ready) == 0 {
				s.ready = nil
			}
			var p shipment
			if s.phase == streamOpen && before < streamBuffer/2 && s.room() >= streamBuffer/2 {
				s.acknowledge(&p)
			}
			s.mu.Unlock()
			s.ship(p)
			return n, nil
		case s.eof:
			s.mu.Unlock()
			return 0, io.EOF
		case s.phase == streamDead:
			err := s.err
			s.mu.Unlock()
			return 0, s.opError("read", err)
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-expired:
		}
	}
}

// Write puts b in line to be sent, and waits while there is no room for it.
func (s *stream) Write(b []byte) (n int, err error) {
	expired := s.write.channel()
	for {
		select {
		case <-expired:
			return n, s.opError("write", os.ErrDeadlineExceeded)
		default:
		}
		s.mu.Lock()
		if s.closed || s.phase == streamDead {
			err := s.err
			if s.closed {
				err = net.ErrClosed
			}
			s.mu.Unlock()
			return n, s.opError("write", err)
		}
		if len(s.queue) == 0 {
			s.heard = time.Now()
		}
		for n < len(b) && s.queued < streamBuffer {
			k := min(segmentSize, len(b)-n)
			s.queue = append(s.queue, unacked{seq: s.sendNext, data: append([]byte(nil), b[n:n+k]...)})
			s.sendNext += uint64(k)
			s.queued += k
			n += k
		}
		var p shipment
		s.pump(&p)
		changed := s.changed
		s.mu.Unlock()
		s.ship(p)
		if n == len(b) {
			return n, nil
		}
		select {
		case <-changed:
		case <-expired:
		}
	}
}

// Close ends the stream after what was written, which is still sent and sent again in the background.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return s.opError("close", net.ErrClosed)
	}
	s.closed = true
	var p shipment
	open := s.phase == streamOpen
	if open {
		if len(s.queue) == 0 {
			s.heard = time.Now()
		}
		s.queue = append(s.queue, unacked{seq: s.sendNext, fin: true})
		s.sendNext++
		s.pump(&p)
	}
	s.wake()
	s.mu.Unlock()
	s.ship(p)
	if !open {
		s.kill(net.ErrClosed)
	}
	s.read.stop()
	s.write.stop()
	return nil
}

func (s *stream) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(s.local) }
func (s *stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

func (s *stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t) // never fails
	return s.SetWriteDeadline(t)
}

func (s *stream) SetReadDeadline(t time.Time) error {
	s.read.set(t)
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.write.set(t)
	return nil
}

func (s *stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}
