// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
)

// addrPortConn is what *net.UDPConn, and any virtual socket that cares, offers to avoid net.Addr and its
// allocations.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// messageConn is what *net.UDPConn offers for datagrams with control messages.
type messageConn interface {
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error)
	WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error)
}

// A Conn is a datagram socket, real or virtual, that speaks [netip.AddrPort]. Its methods may be called from any
// goroutine; one goroutine should read.
type Conn struct {
	pc   net.PacketConn
	fast addrPortConn // nil if pc only knows net.Addr
	msgs messageConn  // nil if there is no use for control messages
	v6   bool

	vigil *vigil // nil: the reader always sleeps until something comes

	// What the kernel does for us. It is found out when the socket is opened, and given up for good when the kernel
	// turns out to refuse it.
	segments atomic.Bool // sends trains (UDP_SEGMENT)
	marks    atomic.Bool // sends ECN marks
}

// New returns a Conn for pc and takes ownership of it. With a *net.UDPConn nothing is allocated per datagram, datagrams
// are not fragmented on the way if the system can be told so, and trains and ECN marks are used as far as the system
// has them; nobody else should read from such a socket, for what arrives may be a train.
func New(pc net.PacketConn) *Conn {
	c := &Conn{pc: pc}
	c.fast, _ = pc.(addrPortConn)
	u, ok := pc.(*net.UDPConn)
	if !ok {
		return c
	}
	c.v6 = !c.LocalAddr().Addr().Is4()
	rc, err := u.SyscallConn()
	if err != nil {
		return c
	}
	c.vigil = newVigil(rc, readable)
	var o offloads
	_ = rc.Control(func(fd uintptr) {
		dontFragment(fd, c.v6)
		o = enableOffloads(fd, c.v6)
	})
	if o.segments || o.coalesces || o.marks {
		c.msgs = u
		c.segments.Store(o.segments)
		c.marks.Store(o.marks)
	}
	return c
}

// offloads says what the kernel does for a socket.
type offloads struct {
	segments  bool // cuts trains that we send
	coalesces bool // joins what arrives into trains
	marks     bool // sends and reports ECN marks
}

// WriteTo sends b as one datagram without an ECN mark. It does not keep b. It may block for a moment when the socket's
// buffer is full. An error says that this datagram was not sent; other destinations may well work. A datagram that is
// too long for the path is such an error (see [TooLong]).
func (c *Conn) WriteTo(b []byte, to netip.AddrPort) error {
	to = unmap(to)
	if c.fast != nil {
		_, err := c.fast.WriteToUDPAddrPort(b, to)
		return err
	}
	_, err := c.pc.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return err
}

// LocalAddr returns the address the socket is bound to; its IP is unspecified if it is bound to all. It returns the
// zero AddrPort if the socket has no such address.
func (c *Conn) LocalAddr() netip.AddrPort {
	a, err := addrPort(c.pc.LocalAddr())
	if err != nil {
		return netip.AddrPort{}
	}
	return a
}

// Close closes the socket; blocked reads return an error that is [net.ErrClosed].
func (c *Conn) Close() error { return c.pc.Close() }

// unmap turns an IPv4-mapped IPv6 address into the IPv4 address it is.
func unmap(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is4In6() {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return a
}

// addrPort converts the address of a socket that is not a *net.UDPConn.
func addrPort(a net.Addr) (netip.AddrPort, error) {
	switch a := a.(type) {
	case interface{ AddrPort() netip.AddrPort }: // *net.UDPAddr among others
		return unmap(a.AddrPort()), nil
	case nil:
		return netip.AddrPort{}, fmt.Errorf("udp: socket gives no address")
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("udp: address %q: %w", a, err)
	}
	return unmap(ap), nil
}
