// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A frail network has sockets that the system may take away.
type frail struct {
	peer.Network

	mu      sync.Mutex
	socks   []*frailConn
	refuse  func(netip.AddrPort) error // opening
	refused int
}

func (f *frail) ListenPacket(ctx context.Context, network string, addr netip.AddrPort) (net.PacketConn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		if err := f.refuse(addr); err != nil {
			f.refused++
			return nil, err
		}
	}
	pc, err := f.Network.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &frailConn{PacketConn: pc}
	f.socks = append(f.socks, c)
	return c, nil
}

func (f *frail) setRefuse(r func(netip.AddrPort) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = r
}

// last is the socket that was opened last.
func (f *frail) last() *frailConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.socks[len(f.socks)-1]
}

type frailConn struct {
	net.PacketConn
	mu     sync.Mutex
	err    error // of reading and writing
	silent bool  // a reader that waits is not told
}

func (c *frailConn) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail makes everything fail with err from now on.
func (c *frailConn) fail(err error, silent bool) {
	c.mu.Lock()
	c.err, c.silent = err, silent
	c.mu.Unlock()
	if !silent {
		_ = c.PacketConn.SetReadDeadline(time.Now())
	}
}

func (c *frailConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, a, err := c.PacketConn.ReadFrom(b)
		switch broken := c.broken(); {
		case broken != nil && !errors.Is(err, net.ErrClosed):
			c.mu.Lock()
			silent := c.silent
			c.mu.Unlock()
			if silent && err == nil {
				continue // nothing arrives any more
			}
			return 0, nil, &net.OpError{Op: "read", Err: os.NewSyscallError("recvfrom", broken)}
		default:
			return n, a, err
		}
	}
}

func (c *frailConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := c.broken(); err != nil {
		return 0, &net.OpError{Op: "write", Err: os.NewSyscallError("sendto", err)}
	}
	return c.PacketConn.WriteTo(b, to)
}

// frailPair returns a session between two endpoints, of which that of a has frail sockets.
func frailPair(t *testing.T) (net *frail, at *peer.Endpoint, a, b *peer.Session) {
	t.Helper()
	var hub signaling.Hub
	lab := frailLab(t)
	listen := func(n peer.Network) *peer.Endpoint {
		key, err := signaling.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		e, err := peer.Listen(t.Context(), &peer.Config{Key: key, Signaler: hub.Join(signaling.IDFromKey(key)), Network: n})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_ = e.Close(ctx)
		})
		return e
	}
	net = &frail{Network: lab()}
	at = listen(net)
	far := listen(lab())
	a, err := at.Dial(t.Context(), far.ID())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = far.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // what establishing has left behind is over
	return net, at, a, b
}

// frailLab returns what makes hosts of one network, 20 ms from each other.
func frailLab(t *testing.T) func() peer.Network {
	t.Helper()
	lab, err := netlab.New(&netlab.Config{OneWay: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lab.Close() })
	return func() peer.Network {
		h, err := lab.AddHost(netlab.Public)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
}

// passes sends a message each way and returns how long that took.
func passes(t *testing.T, why string, a, b *peer.Session) time.Duration {
	t.Helper()
	start := time.Now()
	for _, s := range [][2]*peer.Session{{a, b}, {b, a}} {
		out, err := s[0].OpenFlow("x", nil)
		if err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		if _, err := out.Send(t.Context(), []byte(why)); err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		in, err := s[1].AcceptFlow(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", why, err)
		}
		if m, err := in.Recv(t.Context()); err != nil || string(m.Data) != why {
			t.Fatalf("%s: received %q, %v", why, m.Data, err)
		}
	}
	return time.Since(start)
}

// What the system says of destinations, or of the moment, ends nothing.
func TestSocketSurvivesErrors(t *testing.T) {
	for _, no := range []syscall.Errno{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EPERM, syscall.ENETDOWN,
		syscall.ENOBUFS,
	} {
		synctest.Test(t, func(t *testing.T) {
			n, e, a, b := frailPair(t)
			sock := n.last()
			sock.fail(no, false)
			time.Sleep(3 * time.Second) // reading fails all the time, which must not keep the machine busy
			sock.fail(nil, true)
			_ = sock.PacketConn.SetReadDeadline(time.Time{})
			passes(t, no.Error(), a, b)
			if got := e.Stats().SocketsReopened; got != 0 {
				t.Errorf("%v: %d sockets reopened, want the same one used", no, got)
			}
		})
	}
}

// The system takes the socket away, and another is there at once, on the same port.
func TestSocketReopens(t *testing.T) {
	for name, silent := range map[string]bool{"reader is told": false, "writer is told": true} {
		synctest.Test(t, func(t *testing.T) {
			n, e, a, b := frailPair(t)
			for i := range uint64(3) {
				before := n.last()
				before.fail(syscall.EBADF, silent)
				took := passes(t, name, a, b)
				if took > 500*time.Millisecond { // one packet is lost, and comes again
					t.Errorf("%s: a message each way took %v, want less than 500 ms", name, took)
				}
				after := n.last()
				if got, want := after.LocalAddr().String(), before.LocalAddr().String(); got != want || after == before {
					t.Errorf("%s: now on %s (another socket: %v), want another on %s", name, got, after != before, want)
				}
				if got := e.Stats().SocketsReopened; got != i+1 {
					t.Errorf("%s: %d sockets reopened, want %d", name, got, i+1)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// While there is none to be had attempts become rare, and a session that nobody ends goes on with the first that works.
func TestSocketComesBackLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, e, a, b := frailPair(t)
		before := n.last()
		port := before.LocalAddr().(*net.UDPAddr).Port
		n.setRefuse(func(netip.AddrPort) error { return syscall.ENETDOWN })
		before.fail(syscall.EBADF, false)
		time.Sleep(20 * time.Second)
		n.mu.Lock()
		tries := n.refused / 2 // each on the old port and on any
		n.mu.Unlock()
		if tries < 5 || tries > 12 {
			t.Errorf("%d attempts in 20 s, want them at pauses from 100 ms to 5 s", tries)
		}
		n.setRefuse(func(a netip.AddrPort) error { // somebody else has the port now
			if a.Port() == uint16(port) {
				return syscall.EADDRINUSE
			}
			return nil
		})
		time.Sleep(5 * time.Second)
		passes(t, "on another port", a, b)
		if got := n.last().LocalAddr().(*net.UDPAddr).Port; got == port {
			t.Errorf("on port %d, want another", got)
		}
		if got := e.Stats().SocketsReopened; got != 1 {
			t.Errorf("%d sockets reopened, want one", got)
		}
	})
}

// Close does not wait for a socket that cannot be had.
func TestCloseWithoutSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, e, _, _ := frailPair(t)
		n.setRefuse(func(netip.AddrPort) error { return syscall.ENETDOWN })
		n.last().fail(syscall.EBADF, false)
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_ = e.Close(ctx)
		if took := time.Since(start); took > time.Second {
			t.Errorf("Close took %v, want its context to end it", took)
		}
	})
}
