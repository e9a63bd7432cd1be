// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	pipeLocal  = netip.MustParseAddrPort("192.0.2.1:1000")
	pipeRemote = netip.MustParseAddrPort("198.51.100.1:3478")
)

// newEcho returns a pipe whose remote sends everything back.
func newEcho() *Pipe {
	var p *Pipe
	p = NewPipe(pipeLocal, pipeRemote, func(b []byte, to netip.AddrPort) error {
		p.Deliver(b, to)
		return nil
	})
	return p
}

func TestPipe(t *testing.T) {
	p := newEcho()
	defer p.Close()
	var _ net.PacketConn = p
	if n, err := p.WriteTo([]byte("ping"), net.UDPAddrFromAddrPort(pipeRemote)); n != 4 || err != nil {
		t.Fatalf("WriteTo = %d, %v", n, err)
	}
	buf := make([]byte, 2)
	n, from, err := p.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "pi" || from.String() != pipeRemote.String() {
		t.Errorf("ReadFrom = %q, %v, %v; want the first two bytes from %v", buf[:n], from, err, pipeRemote)
	}
	if _, err := p.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(pipeLocal)); err == nil {
		t.Error("WriteTo to another address succeeds")
	}
	if p.Deliver([]byte("x"), pipeLocal) {
		t.Error("a datagram from elsewhere is taken")
	}
	if got := p.LocalAddr().String(); got != pipeLocal.String() {
		t.Errorf("LocalAddr = %v, want %v", got, pipeLocal)
	}
	if got := New(p).LocalAddr(); got != pipeLocal {
		t.Errorf("a Conn over a Pipe has LocalAddr %v, want %v", got, pipeLocal)
	}
}

func TestPipeCopies(t *testing.T) {
	p := newEcho()
	defer p.Close()
	b := []byte("first")
	p.Deliver(b, pipeRemote)
	copy(b, "?????")
	buf := make([]byte, 100)
	if n, _, _ := p.ReadFrom(buf); string(buf[:n]) != "first" {
		t.Errorf("read %q, want first: Deliver must copy", buf[:n])
	}
}

func TestPipeBounded(t *testing.T) {
	p := newEcho()
	defer p.Close()
	for i := range PipeQueue {
		if !p.Deliver([]byte{1}, pipeRemote) {
			t.Fatalf("datagram %d is refused, the queue holds %d", i, PipeQueue)
		}
	}
	if p.Deliver([]byte{1}, pipeRemote) || p.Deliver(make([]byte, BufferSize+1), pipeRemote) {
		t.Error("a full queue or a giant datagram is taken")
	}
	if got := p.Dropped(); got != 2 {
		t.Errorf("Dropped = %d, want 2", got)
	}
}

func TestPipeDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newEcho()
		start := time.Now()
		buf := make([]byte, 10)
		wantTimeout := func(why string, after time.Duration) {
			t.Helper()
			_, _, err := p.ReadFrom(buf)
			var ne net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: ReadFrom = %v, want a timeout", why, err)
			}
			if got := time.Since(start); got != after {
				t.Errorf("%s: timed out after %v, want %v", why, got, after)
			}
		}
		p.SetReadDeadline(start.Add(time.Second))
		wantTimeout("deadline ahead", time.Second)
		wantTimeout("deadline stays passed", time.Second)
		p.SetDeadline(start.Add(-time.Second))
		wantTimeout("deadline in the past", time.Second)

		// A deadline that moves while a read waits.
		p.SetReadDeadline(time.Time{})
		var wg sync.WaitGroup
		wg.Go(func() { wantTimeout("moved while waiting", 3*time.Second) })
		synctest.Wait()
		p.SetReadDeadline(start.Add(10 * time.Second))
		p.SetReadDeadline(start.Add(3 * time.Second))
		wg.Wait()

		p.SetReadDeadline(start.Add(time.Hour))
		p.Deliver([]byte("x"), pipeRemote)
		if n, _, err := p.ReadFrom(buf); n != 1 || err != nil {
			t.Errorf("ReadFrom before the deadline = %d, %v", n, err)
		}
		if err := p.SetWriteDeadline(start); err != nil {
			t.Errorf("SetWriteDeadline: %v", err)
		}
		p.Close()
	})
}

func TestPipeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newEcho()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, _, err := p.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("blocked ReadFrom after Close = %v, want net.ErrClosed", err)
				}
			})
		}
		p.SetReadDeadline(time.Now().Add(time.Hour))
		synctest.Wait()
		p.Close()
		p.Close()
		wg.Wait()
		if _, err := p.WriteTo(nil, net.UDPAddrFromAddrPort(pipeRemote)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteTo after Close = %v, want net.ErrClosed", err)
		}
		if err := p.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline after Close = %v, want net.ErrClosed", err)
		}
		if p.Deliver([]byte("x"), pipeRemote) {
			t.Error("a closed pipe takes a datagram")
		}
	})
}
