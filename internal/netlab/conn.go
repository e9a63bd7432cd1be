// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// queueLen is how many packets a socket holds for its reader. A kernel's default buffer holds about as many.
const queueLen = 1024

// maxDatagram is the largest UDP payload over IPv4.
const maxDatagram = 65507

type datagram struct {
	b    []byte
	from netip.AddrPort
}

// conn is a net.PacketConn on a host.
type conn struct {
	host  *Host
	local netip.AddrPort
	queue chan datagram
	read  deadline

	once sync.Once
	done chan struct{}
}

// A portKey is what only one socket of a host can have.
type portKey struct {
	v6   bool
	port uint16
}

func keyOf(a netip.AddrPort) portKey { return portKey{a.Addr().Is6(), a.Port()} }

// ListenPacket binds a UDP socket. Network is "udp4", "udp6", or "udp", which is "udp4" unless addr is one of IPv6 that is
// not the unspecified one. "udp6" gives errors.ErrUnsupported until the host has been at a site with IPv6; "udp4" always
// works, as it does on a real host that happens to have no address. The zero addr, or the unspecified one, listens on
// all the host's addresses, also those that are still to come; port 0 takes a free port. ctx is not looked at.
func (h *Host) ListenPacket(_ context.Context, network string, addr netip.AddrPort) (net.PacketConn, error) {
	ip := addr.Addr().Unmap()
	fail := func(err error) error { return &net.OpError{Op: "listen", Net: network, Err: err} }
	var v6 bool
	switch network {
	case "udp":
		v6 = ip.Is6() && !ip.IsUnspecified()
	case "udp4":
	case "udp6":
		v6 = true
	default:
		return nil, fail(net.UnknownNetworkError(network))
	}
	if !ip.IsValid() || network == "udp" && ip.IsUnspecified() {
		if ip = netip.IPv4Unspecified(); v6 {
			ip = netip.IPv6Unspecified()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if v6 && !h.v6 {
		return nil, fail(errors.ErrUnsupported)
	}
	if ip.Is6() != v6 || !ip.IsUnspecified() && h.owner(ip) == nil {
		return nil, fail(syscall.EADDRNOTAVAIL)
	}
	k := portKey{v6, addr.Port()}
	if k.port == 0 {
		k.port = h.freePort(v6)
	}
	if k.port == 0 || h.ports[k] != nil {
		return nil, fail(syscall.EADDRINUSE)
	}
	c := &conn{
		host:  h,
		local: netip.AddrPortFrom(ip, k.port),
		queue: make(chan datagram, queueLen),
		done:  make(chan struct{}),
	}
	c.read.reset()
	h.ports[k] = c
	return c, nil
}

// freePort returns a port that is not in use, or 0. Ports are taken in sequence, so that tests can be repeated.
func (h *Host) freePort(v6 bool) uint16 {
	for range 1 << 16 {
		p := h.next
		if h.next++; h.next < firstEphemeral { // wrapped
			h.next = firstEphemeral
		}
		if h.ports[portKey{v6, p}] == nil {
			return p
		}
	}
	return 0
}

// receive takes a packet, which it keeps. It never blocks.
func (c *conn) receive(b []byte, from netip.AddrPort) {
	select {
	case c.queue <- datagram{b, from}:
	default:
		c.host.dropped.Add(1)
	}
}

// ReadFrom waits for a packet. As with any UDP socket, what does not fit into b is lost. The address is a
// *net.UDPAddr.
func (c *conn) ReadFrom(b []byte) (int, net.Addr, error) {
	expired := c.read.channel()
	select { // a deadline or a close that has passed wins over a packet that waits
	case <-c.done:
		return 0, nil, c.opError("read", net.ErrClosed)
	case <-expired:
		return 0, nil, c.opError("read", os.ErrDeadlineExceeded)
	default:
	}
	select {
	case d := <-c.queue:
		return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case <-expired:
		return 0, nil, c.opError("read", os.ErrDeadlineExceeded)
	case <-c.done:
		return 0, nil, c.opError("read", net.ErrClosed)
	}
}

// WriteTo sends a packet. It never blocks, and a packet that is lost on the way is not an error. ENETUNREACH says that the
// host has no address of that family, or no longer the one that the socket is bound to.
func (c *conn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, c.opError("write", net.ErrClosed)
	default:
	}
	dst, err := c.destination(to)
	if err != nil {
		return 0, c.opError("write", err)
	}
	if len(b) > maxDatagram {
		return 0, c.opError("write", syscall.EMSGSIZE)
	}
	i, src, err := c.host.route(c.local.Addr(), dst.Addr())
	if err != nil {
		return 0, c.opError("write", err)
	}
	if c.host.passes(dst) {
		i.site.send(message{src: netip.AddrPortFrom(src, c.local.Port()), dst: dst, payload: bytes.Clone(b)})
	}
	return len(b), nil
}

// Close unbinds the socket and wakes readers, which get net.ErrClosed.
func (c *conn) Close() error {
	err := c.opError("close", net.ErrClosed)
	c.once.Do(func() {
		close(c.done)
		c.read.stop()
		err = nil
		c.host.mu.Lock()
		delete(c.host.ports, keyOf(c.local))
		c.host.mu.Unlock()
	})
	return err
}

func (c *conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

func (c *conn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(_ time.Time) error { return nil } // writes never wait
func (c *conn) SetReadDeadline(t time.Time) error {
	select {
	case <-c.done:
		return c.opError("set", net.ErrClosed)
	default:
	}
	c.read.set(t)
	return nil
}

func (c *conn) opError(op string, err error) error {
	network := "udp4"
	if c.local.Addr().Is6() {
		network = "udp6"
	}
	return &net.OpError{Op: op, Net: network, Source: c.LocalAddr(), Err: err}
}

// destination returns the endpoint that a means, of the socket's family.
func (c *conn) destination(a net.Addr) (netip.AddrPort, error) {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%w: address %v", ErrConfig, a)
	}
	ap := u.AddrPort()
	ip := ap.Addr().Unmap().WithZone("")
	if !ip.IsValid() || ip.Is6() != c.local.Addr().Is6() || ap.Port() == 0 {
		return netip.AddrPort{}, syscall.ENETUNREACH
	}
	return netip.AddrPortFrom(ip, ap.Port()), nil
}
