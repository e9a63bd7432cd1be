// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ttl is what all of ours are sent with, and must arrive with: no router has passed them on (RFC 6762 §11).
const ttl = 255

// maxLinks bounds the interfaces that are spoken on.
const maxLinks = 16

// A link is an interface that can do multicast.
type link struct {
	net.Interface
	prefixes []netip.Prefix // our addresses, with the subnet of each
}

// A Conn is a socket on the group. It has joined on every interface that could do multicast when it was opened; to follow
// changes, open another. Packets from beyond the local link are not shown to its reader.
type Conn struct {
	sock  socket
	group netip.AddrPort
	links []link
	once  sync.Once
}

// A socket is the part of Conn that differs between IPv4 and IPv6.
type socket interface {
	JoinGroup(ifi *net.Interface, group net.Addr) error
	// read returns the interface and the TTL of a packet, 0 where the system does not tell.
	read(b []byte) (n int, from netip.AddrPort, ifIndex, hops int, err error)
	// write sends by an interface, or by any when it is 0.
	write(b []byte, ifIndex int, to net.Addr) error
	SetReadDeadline(t time.Time) error
	Close() error
}

// Listen joins a group of multicast DNS on all suitable interfaces: those that are up, do multicast and are neither
// loopback nor point-to-point. network is "udp4" or "udp6". The port is shared with other programs of the host that
// allow it, as they all do. The error is [errors.ErrUnsupported] when no interface is suitable.
func Listen(ctx context.Context, network string, group netip.AddrPort) (*Conn, error) {
	if !group.Addr().IsMulticast() || group.Addr().Is4() != (network == "udp4") {
		return nil, fmt.Errorf("mdns: %v is no group of %s", group, network)
	}
	all, err := links(network == "udp4")
	if err != nil {
		return nil, fmt.Errorf("mdns: %w", err)
	}
	lc := net.ListenConfig{Control: reuse}
	pc, err := lc.ListenPacket(ctx, network, netip.AddrPortFrom(wildcard(network), group.Port()).String())
	if err != nil {
		return nil, fmt.Errorf("mdns: %w", err)
	}
	c := &Conn{group: group}
	if network == "udp4" {
		c.sock, err = newSocket4(pc)
	} else {
		c.sock, err = newSocket6(pc)
	}
	if err != nil {
		_ = pc.Close()
		return nil, fmt.Errorf("mdns: %w", err)
	}
	for _, l := range all {
		if err = c.sock.JoinGroup(&l.Interface, &net.UDPAddr{IP: group.Addr().AsSlice()}); err == nil {
			c.links = append(c.links, l)
		}
	}
	if len(c.links) == 0 {
		_ = c.sock.Close()
		return nil, fmt.Errorf("mdns: no interface: %w", errors.Join(errors.ErrUnsupported, err))
	}
	return c, nil
}

func wildcard(network string) netip.Addr {
	if network == "udp4" {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// links lists the suitable interfaces that have an address of the family.
func links(v4 bool) ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []link
	for _, i := range all {
		const need, not = net.FlagUp | net.FlagMulticast, net.FlagLoopback | net.FlagPointToPoint
		if i.Flags&need != need || i.Flags&not != 0 || len(out) >= maxLinks {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		l := link{Interface: i}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			ones, _ := n.Mask.Size()
			if ip = ip.Unmap(); ok && ip.Is4() == v4 {
				l.prefixes = append(l.prefixes, netip.PrefixFrom(ip, ones))
			}
		}
		if len(l.prefixes) > 0 {
			out = append(out, l)
		}
	}
	return out, nil
}

// linkOf returns the link that a packet has come by, and nil if it has come from elsewhere (RFC 6762 §11).
func (c *Conn) linkOf(from netip.Addr, ifIndex int) *link {
	if zone := from.Zone(); zone != "" {
		for i := range c.links {
			if c.links[i].Name == zone {
				return &c.links[i]
			}
		}
		return nil
	}
	for i := range c.links {
		l := &c.links[i]
		if ifIndex != 0 && ifIndex != l.Index {
			continue
		}
		for _, p := range l.prefixes {
			if p.Contains(from) {
				return l
			}
		}
	}
	return nil
}

// ReadFrom reads the next packet from the local link. The address is a *net.UDPAddr.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, ifIndex, hops, err := c.sock.read(b)
		if err != nil {
			return 0, nil, err
		}
		if hops != 0 && hops != ttl || c.linkOf(from.Addr(), ifIndex) == nil {
			continue
		}
		return n, net.UDPAddrFromAddrPort(from), nil
	}
}

// WriteTo sends a packet: to the group on every interface, to any other address as usual. It is an error if no interface
// takes it.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("mdns: address %v", to)
	}
	if !u.IP.IsMulticast() {
		return len(b), c.sock.write(b, 0, to)
	}
	var err error
	sent := false
	for i := range c.links {
		if e := c.sock.write(b, c.links[i].Index, to); e == nil {
			sent = true
		} else {
			err = e
		}
	}
	if sent {
		return len(b), nil
	}
	return 0, err
}

// LocalAddrs lists the addresses of this host on the link that a packet has come from.
func (c *Conn) LocalAddrs(from net.Addr) []netip.Addr {
	u, ok := from.(*net.UDPAddr)
	if !ok {
		return nil
	}
	a := u.AddrPort().Addr()
	l := c.linkOf(a.Unmap(), 0)
	if l == nil {
		return nil
	}
	var out []netip.Addr
	for _, p := range l.prefixes {
		out = append(out, p.Addr())
	}
	return out
}

// LocalAddr returns the group, and its port.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.group) }

// Close closes the socket, and wakes its reader.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() { err = c.sock.Close() })
	return err
}

// SetDeadline is SetReadDeadline: writes do not wait.
func (c *Conn) SetDeadline(t time.Time) error { return c.sock.SetReadDeadline(t) }

// SetReadDeadline bounds ReadFrom.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.sock.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes do not wait.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
