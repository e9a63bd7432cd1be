// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// queueLen is how many messages wait for an agent. It reads all the time.
const queueLen = 64

// conn is what an agent believes to be its socket for one address family.
type conn struct {
	agent *Agent
	local netip.AddrPort
	in    chan message

	once sync.Once
	done chan struct{}

	answered bool // the last message read was a response; only ReadFrom's goroutine looks at it
}

type message struct {
	b        []byte
	from     netip.AddrPort
	response bool
}

func newConn(a *Agent, local netip.AddrPort) *conn {
	return &conn{agent: a, local: local, in: make(chan message, queueLen), done: make(chan struct{})}
}

// enqueue copies a message for the agent. It reports false if there is no room for it.
func (c *conn) enqueue(b []byte, from netip.AddrPort, response bool) bool {
	select {
	case c.in <- message{bytes.Clone(b), from, response}:
		return true
	default:
		return false
	}
}

// ReadFrom is called by one goroutine of the agent, which has dealt with a message when it comes for the next.
func (c *conn) ReadFrom(b []byte) (int, net.Addr, error) {
	if c.answered {
		c.answered = false
		c.agent.nudge()
	}
	select {
	case m := <-c.in:
		c.answered = m.response
		return copy(b, m.b), net.UDPAddrFromAddrPort(m.from), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo sends a message of the agent.
func (c *conn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("%w: %v", ErrCandidate, to)
	}
	dst := u.AddrPort()
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	select {
	case <-c.done:
		return 0, net.ErrClosed
	default:
	}
	if admit := c.agent.cfg.Admit; admit != nil && !admit(dst) {
		return len(b), nil
	}
	m := c.agent.cfg.Mux
	if stunx.IsRequest(b) {
		m.sent(b, c, dst)
	}
	if err := m.write(b, dst); err != nil {
		return 0, fmt.Errorf("icex: %w", err)
	}
	return len(b), nil
}

// Close is called by the agent.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

func (c *conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// The agent sets a deadline only to wake its reader before Close, which wakes it anyway.
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// sockets is the ice.UDPMux of one agent.
type sockets struct{ agent *Agent }

// GetListenAddresses returns one address per family.
func (s sockets) GetListenAddresses() []net.Addr {
	var out []net.Addr
	for _, c := range s.agent.conns {
		if c != nil {
			out = append(out, c.LocalAddr())
		}
	}
	return out
}

func (s sockets) GetConn(_ string, addr net.Addr) (net.PacketConn, error) {
	if u, ok := addr.(*net.UDPAddr); ok {
		if c := s.agent.conn(u.AddrPort().Addr().Unmap()); c != nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: no socket for %v", ErrConfig, addr)
}

// RemoveConnByUfrag does nothing: the agent closes its conns itself, and Agent.Close leaves the mux.
func (s sockets) RemoveConnByUfrag(string) {}

func (s sockets) Close() error { return nil }

// bases picks a local address for each family: the first that is neither loopback nor unspecified if there is one.
// Which one it is makes no difference on the wire.
func bases(local []netip.AddrPort) (out [2]netip.AddrPort) {
	rank := func(ap netip.AddrPort) int {
		switch a := ap.Addr(); {
		case !ap.IsValid() || ap.Port() == 0 || a.IsMulticast() || a.Zone() != "":
			return 0
		case a.IsUnspecified():
			return 1
		case a.IsLoopback():
			return 2
		case a.IsLinkLocalUnicast():
			return 3
		}
		return 4
	}
	for _, ap := range local {
		ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		if best := &out[family(ap.Addr())]; rank(ap) > rank(*best) {
			*best = ap
		}
	}
	return out
}

// family is an index: 0 for IPv4, 1 for IPv6.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
