// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"fmt"
	"net"
	"net/netip"
)

// addrPortConn is what *net.UDPConn, and any virtual socket that cares, offers to avoid net.Addr and its
// allocations.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// A Conn is a datagram socket, real or virtual, that speaks [netip.AddrPort]. Its methods may be called from any
// goroutine; one goroutine should read.
type Conn struct {
	pc   net.PacketConn
	fast addrPortConn // nil if pc only knows net.Addr
}

// New returns a Conn for pc and takes ownership of it. With a *net.UDPConn nothing is allocated per datagram.
func New(pc net.PacketConn) *Conn {
	c := &Conn{pc: pc}
	c.fast, _ = pc.(addrPortConn)
	return c
}

// ReadFrom reads one datagram into b and returns its length and source. It blocks until one arrives or the Conn is
// closed; see [Temporary] for errors after which reading may go on.
func (c *Conn) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	if c.fast != nil {
		n, from, err := c.fast.ReadFromUDPAddrPort(b)
		return n, unmap(from), err
	}
	n, addr, err := c.pc.ReadFrom(b)
	if err != nil {
		return n, netip.AddrPort{}, err
	}
	from, err := addrPort(addr)
	return n, from, err
}

// WriteTo sends b as one datagram. It does not keep b. It may block for a moment when the socket's buffer is full.
// An error says that this datagram was not sent; other destinations may well work.
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
