// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

// dialTURN allocates over TCP.
func dialTURN(t *testing.T, s *Server, id string) (*turnx.Allocation, net.Conn, error) {
	c, err := net.Dial("tcp4", s.c.Listeners[0].Addr().String())
	ok(t, err)
	user, pass := Credential(secret, id, time.Now().Add(time.Hour))
	a, err := turnx.Allocate(t.Context(), &turnx.ClientConfig{
		Conn: turnx.NewStreamConn(c), Server: addrPort(c.RemoteAddr()), Username: user, Password: pass,
	})
	return a, c, err
}

// wait polls a condition that another goroutine or the kernel brings about.
func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come to pass", what)
		}
	}
}

// A thousand clients allocate over TCP and vanish: allocations, streams, sockets and goroutines go with them.
func TestStreamChurn(t *testing.T) {
	c := realConfig(t)
	c.AnswerRate, c.MaxPerUser, c.MaxConnsPerIP = -1, -1, -1
	s := start(t, c)
	warm, _, err := dialTURN(t, s, "warm") // the server's own goroutines are all there once it has served somebody
	ok(t, err)
	warm.Close()
	base := goleak.IgnoreCurrent()
	const clients, parallel = 1000, 20
	var wg sync.WaitGroup
	for i := range parallel {
		wg.Go(func() {
			for range clients / parallel {
				a, c, err := dialTURN(t, s, string(rune('a'+i)))
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.(*net.TCPConn).SetLinger(0) // a reset, as of a killed process
				c.Close()
				a.Close()
			}
		})
	}
	wg.Wait()
	wait(t, "the end of all allocations", func() bool { return s.Allocations() == 0 && s.conns.live() == 0 })
	if n := len(s.conns.sources) + len(s.quota.users); n != 0 {
		t.Errorf("%d sources and users remembered", n)
	}
	goleak.VerifyNone(t, base)
}

// A stream that falls silent does not live for ever, nor does one without an allocation, but one with an allocation does.
func TestStreamDeadlines(t *testing.T) {
	c := realConfig(t)
	c.FirstMessage, c.IdleStream = 50*time.Millisecond, 100*time.Millisecond
	s := start(t, c)
	dial := func() net.Conn {
		c, err := net.Dial("tcp4", s.c.Listeners[0].Addr().String())
		ok(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	silent, slow, idle := dial(), dial(), dial()
	_, req := stunx.NewBinding()
	_, _ = slow.Write(req[:10])
	_, _ = idle.Write(req)
	a, _, err := dialTURN(t, s, "alice")
	ok(t, err)
	defer a.Close()
	for name, c := range map[string]net.Conn{"silent": silent, "slow": slow, "idle": idle} {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := io.Copy(io.Discard, c); err != nil || (n > 0) != (name == "idle") {
			t.Errorf("%s: %d bytes, %v, want the server to close the stream", name, n, err)
		}
	}
	if a.Err() != nil || s.Allocations() != 1 {
		t.Errorf("the stream with an allocation ended as well: %v", a.Err())
	}
}

func TestStreamCaps(t *testing.T) {
	c := realConfig(t)
	c.MaxConnsPerIP = 3
	s := start(t, c)
	var open []net.Conn
	for range 6 {
		c, err := net.Dial("tcp4", s.c.Listeners[0].Addr().String())
		ok(t, err)
		defer c.Close()
		open = append(open, c)
	}
	closed := 0
	for _, c := range open[3:] {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			closed++
		}
	}
	if closed != 3 || s.conns.live() != 3 {
		t.Errorf("%d of 3 streams too many closed, %d live", closed, s.conns.live())
	}
}

// flaky is a listener that runs out of file descriptors for a while.
type flaky struct {
	net.Listener
	fail atomic.Int32
}

func (l *flaky) Accept() (net.Conn, error) {
	if l.fail.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptSurvivesShortage(t *testing.T) {
	c := realConfig(t)
	l := &flaky{Listener: c.Listeners[0]}
	l.fail.Store(4)
	c.Listeners[0] = l
	s := start(t, c)
	a, _, err := dialTURN(t, s, "alice")
	ok(t, err)
	a.Close()
	if l.fail.Load() >= 0 {
		t.Error("the listener never failed")
	}
}
