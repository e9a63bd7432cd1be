// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"context"
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
	routerAddr = netip.MustParseAddr("192.168.1.1")
	routerV6   = netip.MustParseAddr("fe80::1%eth0")
	hostAddr   = netip.MustParseAddr("192.168.1.50")
	hostV6     = netip.MustParseAddr("2a00:5:1:1::50")
	outside    = netip.MustParseAddr("5.0.1.2")
	socket4    = netip.MustParseAddrPort("0.0.0.0:4000")
	socket6    = netip.MustParseAddrPort("[::]:4001")
)

// A lan is a network with one router and our host, in memory.
type lan struct {
	mu     sync.Mutex
	router func(from, to netip.AddrPort, b []byte) []answer // what a packet of ours causes
	dial   func(addr netip.AddrPort) (net.Conn, error)
	gw4    Gateway
	gw6    Gateway
	asked  int // questions for the gateway
}

// An answer is a packet to our host.
type answer struct {
	b     []byte
	from  netip.AddrPort
	after time.Duration
}

func newLAN() *lan {
	return &lan{
		gw4: Gateway{Addr: routerAddr, Local: hostAddr},
		gw6: Gateway{Addr: routerV6, Local: hostV6},
		router: func(_, _ netip.AddrPort, _ []byte) []answer {
			return nil
		},
	}
}

func (l *lan) gateway(_ context.Context, v6 bool) (Gateway, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	gw := l.gw4
	if v6 {
		gw = l.gw6
	}
	if !gw.Addr.IsValid() {
		return gw, ErrNoGateway
	}
	return gw, nil
}

func (l *lan) setGateway(gw Gateway) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gw4 = gw
}

func (l *lan) DialContext(_ context.Context, _, address string) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || l.dial == nil {
		return nil, errors.New("no way there")
	}
	return l.dial(ap)
}

func (l *lan) ListenPacket(_ context.Context, _ string, addr netip.AddrPort) (net.PacketConn, error) {
	return &packetConn{
		lan: l, local: netip.AddrPortFrom(addr.Addr(), 50000), inbox: make(chan answer, 64),
		closed: make(chan struct{}), moved: make(chan struct{}),
	}, nil
}

// A packetConn is a UDP socket on a lan.
type packetConn struct {
	lan    *lan
	local  netip.AddrPort
	inbox  chan answer
	closed chan struct{}

	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
}

func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.lan.mu.Lock()
	answers := c.lan.router(c.local, to.(*net.UDPAddr).AddrPort(), b)
	c.lan.mu.Unlock()
	for _, a := range answers {
		time.AfterFunc(a.after, func() {
			select {
			case c.inbox <- a:
			case <-c.closed:
			}
		})
	}
	return len(b), nil
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c.mu.Lock()
		deadline, moved := c.deadline, c.moved
		c.mu.Unlock()
		timer := time.NewTimer(time.Until(deadline))
		select {
		case a := <-c.inbox:
			timer.Stop()
			return copy(b, a.b), net.UDPAddrFromAddrPort(a.from), nil
		case <-timer.C:
			return 0, nil, os.ErrDeadlineExceeded
		case <-moved:
			timer.Stop()
		case <-c.closed:
			timer.Stop()
			return 0, nil, net.ErrClosed
		}
	}
}

func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

func (c *packetConn) Close() error {
	close(c.closed)
	return nil
}

func (c *packetConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }
func (c *packetConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.local) }

// start starts a Mapper for socket4 on the lan, or for what cfg says.
func (l *lan) start(t *testing.T, cfg Config) *Mapper {
	t.Helper()
	if !cfg.V4.IsValid() && !cfg.V6.IsValid() {
		cfg.V4 = socket4
	}
	cfg.Network, cfg.Gateway = l, l.gateway
	m := New(cfg)
	t.Cleanup(func() { m.Close(context.Background()) }) // the test's own context has ended by then
	return m
}

// expect checks the addresses of a Mapper.
func expect(t *testing.T, m *Mapper, want ...netip.AddrPort) {
	t.Helper()
	got := m.Addrs()
	if len(got) != len(want) {
		t.Fatalf("mapped to %v, want %v (status %+v)", got, want, m.Status())
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("mapped to %v, want %v", got, want)
		}
	}
}

// set changes the network while a Mapper uses it.
func (l *lan) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// sleep lets time pass in the bubble, and everything come to rest.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
