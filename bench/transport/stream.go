// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// A streamChannel makes a channel of a stream of bytes: as it is for Bulk, and else with the length of each message in
// front of it. A message is one Write, so that it leaves when it is sent; for Buffered it goes through a buffer, so that
// small messages share system calls and packets. What arrives is read through a buffer: nobody waits for that.
type streamChannel struct {
	rw   io.ReadWriter
	r    *bufio.Reader // nil for Bulk
	w    *bufio.Writer // for Buffered
	out  []byte        // a message with its length
	head [4]byte       // a length
}

const (
	streamBuffer = 64 << 10
	maxFramed    = 16 << 20
)

func newStreamChannel(rw io.ReadWriter, k Kind) *streamChannel {
	s := &streamChannel{rw: rw}
	if k != Bulk {
		s.r = bufio.NewReaderSize(rw, streamBuffer)
	}
	if k == Buffered {
		s.w = bufio.NewWriterSize(rw, streamBuffer)
	}
	return s
}

func (s *streamChannel) Send(b []byte) error {
	switch {
	case s.r == nil:
		_, err := s.rw.Write(b)
		return err
	case s.w == nil:
		s.out = append(binary.BigEndian.AppendUint32(s.out[:0], uint32(len(b))), b...)
		_, err := s.rw.Write(s.out)
		return err
	}
	binary.BigEndian.PutUint32(s.head[:], uint32(len(b)))
	if _, err := s.w.Write(s.head[:]); err != nil {
		return err
	}
	_, err := s.w.Write(b)
	return err
}

func (s *streamChannel) Flush() error {
	if s.w == nil {
		return nil
	}
	return s.w.Flush()
}

func (s *streamChannel) Recv(buf []byte) ([]byte, error) {
	if s.r == nil {
		n, err := s.rw.Read(buf)
		if n > 0 {
			return buf[:n], nil
		}
		return nil, err
	}
	length, err := s.r.Peek(4)
	if err != nil {
		if len(length) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(length))
	if n > maxFramed {
		return nil, fmt.Errorf("transport: a message of %d bytes", n)
	}
	if n > len(buf) {
		buf = make([]byte, n)
	}
	_, _ = s.r.Discard(len(length)) // it is there
	_, err = io.ReadFull(s.r, buf[:n])
	return buf[:n], err
}

// hello opens a stream: streams become visible to the other side only by data.
func hello(w io.Writer, k Kind) error {
	_, err := w.Write([]byte{byte(k)})
	return err
}

// expect reads the other side's hello.
func expect(r io.Reader, k Kind) error {
	got, err := greeting(r)
	if err == nil && got != k {
		err = fmt.Errorf("transport: a channel for %v came, want one for %v", got, k)
	}
	return err
}

// greeting reads the other side's hello and returns what it is for.
func greeting(r io.Reader) (Kind, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return Kind(b[0]), err
}
