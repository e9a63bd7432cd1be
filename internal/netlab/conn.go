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
	"syscall"
)

// maxDatagram is the largest UDP payload over IPv4.
const maxDatagram = 65507

// conn is a net.PacketConn on a host.
type conn struct{ *mailbox }

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
	c := &conn{newMailbox(h, netip.AddrPortFrom(ip, k.port))}
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
	return c.close(func() {
		c.host.mu.Lock()
		delete(c.host.ports, keyOf(c.local))
		c.host.mu.Unlock()
	})
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
