// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// readerConn is a net.Conn that reads from r.
type readerConn struct {
	net.Conn
	r      io.Reader
	closed int
}

func (c *readerConn) Read(b []byte) (int, error) { return c.r.Read(b) }
func (c *readerConn) RemoteAddr() net.Addr       { return &net.TCPAddr{Port: 1} }
func (c *readerConn) Close() error               { c.closed++; return nil }

func TestFrameSizeDoesNotWrap(t *testing.T) {
	for _, declared := range []int{0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF} {
		_, wire, err := FrameSize([4]byte{0x40, 0, byte(declared >> 8), byte(declared)})
		if err != nil || wire < declared+4 {
			t.Errorf("channel data of %d: wire %d, %v; want at least %d", declared, wire, err, declared+4)
		}
	}
	if l, _, err := FrameSize([4]byte{0, 1, 0xFF, 0xFC}); err != nil || l != 0xFFFC+20 {
		t.Errorf("STUN of 65532: %d, %v", l, err)
	}
	for _, head := range [][4]byte{{0x80, 0, 0, 0}, {0xC0, 0, 0, 0}, {'G' | 0x80, 0, 0, 4}, {0, 1, 0, 3}} {
		if _, _, err := FrameSize(head); err == nil {
			t.Errorf("% x accepted", head)
		}
	}
}

func TestStreamConnFrames(t *testing.T) {
	_, req := NewBinding()
	frames := [][]byte{
		req,
		{0x40, 1, 0, 5, 1, 2, 3, 4, 5},
		{0x40, 2, 0, 0},
		NewBuilder(nil, Send, Indication, [12]byte{}).Add(DataAttr, make([]byte, 1000)).Bytes(),
	}
	var wire []byte
	for _, f := range frames {
		wire = append(wire, f...)
		wire = append(wire, make([]byte, pad4(len(f))-len(f))...)
	}
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(wire), "byte by byte": iotest.OneByteReader(bytes.NewReader(wire)),
		"halves": iotest.HalfReader(bytes.NewReader(wire)),
	} {
		rc := &readerConn{r: r}
		s := NewStreamConn(rc, 0)
		buf := make([]byte, 1600)
		for i, want := range frames {
			if n, _, err := s.ReadFrom(buf); err != nil || !bytes.Equal(buf[:n], want) {
				t.Fatalf("%s: frame %d = % x, %v, want % x", name, i, buf[:n], err, want)
			}
		}
		if _, _, err := s.ReadFrom(buf); !errors.Is(err, io.EOF) || rc.closed == 0 {
			t.Errorf("%s: at the end: %v, closed %d times", name, err, rc.closed)
		}
	}
}

func TestStreamConnRefuses(t *testing.T) {
	stun := func(n int) []byte {
		return NewBuilder(nil, Binding, Request, [12]byte{}).Add(0x8099, make([]byte, n)).Bytes()
	}
	for name, tt := range map[string]struct {
		wire []byte
		want error
	}{
		"the crash datagram":     {crash(), ErrNotSane},
		"http":                   {[]byte("GET / HTTP/1.1\r\n"), ErrFrameSize},
		"not a frame":            {[]byte("\x80\x00\x00\x00"), ErrFrame},
		"wrapping channel data":  {[]byte{0x40, 0, 0xFF, 0xFC, 0, 0, 0, 0}, ErrFrameSize},
		"wrapping channel data+": {[]byte{0x40, 0, 0xFF, 0xFF, 0, 0, 0, 0}, ErrFrameSize},
		"wrapping STUN":          {append([]byte{0, 1, 0xFF, 0xFC}, make([]byte, 40)...), ErrFrameSize},
		"large STUN":             {stun(DefaultMaxFrame), ErrFrameSize},
		"cut short":              {stun(100)[:60], io.EOF},
		"cut in the head":        {[]byte{0x40}, io.EOF},
	} {
		rc := &readerConn{r: bytes.NewReader(tt.wire)}
		if n, _, err := NewStreamConn(rc, 0).ReadFrom(make([]byte, 4096)); !errors.Is(err, tt.want) || rc.closed == 0 {
			t.Errorf("%s: %d, %v, closed %d; want %v and a closed connection", name, n, err, rc.closed, tt.want)
		}
	}
	// A frame larger than the reader's buffer is skipped, not cut.
	_, req := NewBinding()
	s := NewStreamConn(&readerConn{r: bytes.NewReader(append(stun(200), req...))}, 0)
	buf := make([]byte, 100)
	if n, _, err := s.ReadFrom(buf); err != nil || !bytes.Equal(buf[:n], req) {
		t.Errorf("after a frame too large for the buffer: % x, %v", buf[:n], err)
	}
}

func TestStreamConnPadsAndTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		s := NewStreamConn(a, 0)
		go s.WriteTo([]byte{0x40, 0, 0, 1, 9}, nil)
		got := make([]byte, 8)
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, []byte{0x40, 0, 0, 1, 9, 0, 0, 0}) {
			t.Fatalf("got % x, %v, want padded channel data", got, err)
		}
		start := time.Now()
		if _, err := s.WriteTo(make([]byte, 20), nil); err == nil { // nobody reads
			t.Error("stalled write succeeded")
		}
		if d := time.Since(start); d != DefaultWriteTimeout {
			t.Errorf("stalled write took %v, want %v", d, DefaultWriteTimeout)
		}
		if _, err := b.Read(got); err != io.EOF {
			t.Errorf("read after the failed write: %v, want EOF because the stream is broken", err)
		}
	})
}

// FuzzStream: no stream makes the reader panic, grow, or yield a frame the filter would refuse.
func FuzzStream(f *testing.F) {
	_, req := NewBinding()
	f.Add(req)
	f.Add([]byte{0x40, 0, 0xFF, 0xFD, 1, 2, 3})
	f.Add(append([]byte{0x40, 1, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0}, req...))
	f.Fuzz(func(t *testing.T, wire []byte) {
		s := NewStreamConn(&readerConn{r: bytes.NewReader(wire)}, 512)
		buf := make([]byte, 1024)
		total := 0
		for {
			n, _, err := s.ReadFrom(buf)
			if err != nil {
				return
			}
			if total += n; total > len(wire) || n > 512 {
				t.Fatalf("frame of %d bytes, %d in all, from %d", n, total, len(wire))
			}
			if buf[0]>>6 == 0 && !Sane(buf[:n]) {
				t.Fatalf("insane frame % x", buf[:n])
			}
		}
	})
}
