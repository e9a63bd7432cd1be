// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// groups is who has joined which multicast group. Hosts of one site hear each other, at once and without loss; nothing
// leaves the site.
type groups struct {
	mu    sync.Mutex
	conns []*groupConn
	taps  []func(Packet)
}

// A groupConn is a socket that has joined a group, which is its local address.
type groupConn struct {
	*mailbox
	joined []*site
}

// ListenMulticast joins a group, on the interfaces that the host has now. Any number of sockets may; each gets what others
// send to the group, those of its own host included. What is sent to the group's port on the host reaches the last socket
// only, as it does where sockets share a port.
func (h *Host) ListenMulticast(_ context.Context, network string, group netip.AddrPort) (net.PacketConn, error) {
	fail := func(err error) error { return &net.OpError{Op: "listen", Net: network, Err: err} }
	v6 := network == "udp6"
	if network != "udp4" && !v6 {
		return nil, fail(net.UnknownNetworkError(network))
	}
	if !group.Addr().IsMulticast() || group.Addr().Is6() != v6 {
		return nil, fail(ErrConfig)
	}
	c := &groupConn{mailbox: newMailbox(h, group)}
	for _, i := range h.neighborhoods(v6) {
		c.joined = append(c.joined, i.site)
	}
	if len(c.joined) == 0 {
		return nil, fail(errors.ErrUnsupported)
	}
	h.net.groups.mu.Lock()
	defer h.net.groups.mu.Unlock()
	h.net.groups.conns = append(h.net.groups.conns, c)
	return c, nil
}

// neighborhoods lists the host's interfaces that have an address of a family.
func (h *Host) neighborhoods(v6 bool) []*iface {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.ifaces), func(i *iface) bool { return !i.of(v6).IsValid() })
}

// TapMulticast shows every packet that a socket of ListenMulticast sends to the group, or to a host that listens, to f, which
// must not block, keep it or call anything of the network.
func (n *Network) TapMulticast(f func(Packet)) {
	n.groups.mu.Lock()
	defer n.groups.mu.Unlock()
	n.groups.taps = append(n.groups.taps, f)
}

// closeGroups closes the sockets of a host.
func (h *Host) closeGroups() {
	h.net.groups.mu.Lock()
	conns := slices.Clone(h.net.groups.conns)
	h.net.groups.mu.Unlock()
	for _, c := range conns {
		if c.host == h {
			_ = c.Close() // closed before: not our concern
		}
	}
}

// WriteTo sends a packet to the group, or to the group's port on a host of the same site.
func (c *groupConn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, c.opError("write", net.ErrClosed)
	default:
	}
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", ErrConfig)
	}
	dst := netip.AddrPortFrom(u.AddrPort().Addr().Unmap(), u.AddrPort().Port())
	v6 := c.local.Addr().Is6()
	ifaces := c.host.neighborhoods(v6)
	g := &c.host.net.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range ifaces {
		if slices.Contains(c.joined, i.site) {
			g.send(c, i, b, dst)
		}
	}
	return len(b), nil
}

// send sends a packet by one interface. g.mu is held.
func (g *groups) send(c *groupConn, by *iface, b []byte, dst netip.AddrPort) {
	v6 := c.local.Addr().Is6()
	from := netip.AddrPortFrom(by.of(v6), c.local.Port())
	seen := func() {
		for _, f := range g.taps {
			f(Packet{From: from, To: dst, Payload: b, Sent: time.Now()})
		}
	}
	if dst == c.local {
		seen()
	}
	if !c.host.passes(dst) {
		return
	}
	for _, o := range slices.Backward(g.conns) {
		if o == c || o.local != c.local || !slices.Contains(o.joined, by.site) {
			continue
		}
		at := o.host.neighborhoods(v6)
		i := slices.IndexFunc(at, func(i *iface) bool { return i.site == by.site })
		switch {
		case i < 0: // gone since it has joined
		case dst == o.local:
			o.deliver(b, from)
		case dst == netip.AddrPortFrom(at[i].of(v6), o.local.Port()):
			seen()
			o.deliver(b, from)
			return
		}
	}
}

func (c *groupConn) deliver(b []byte, from netip.AddrPort) {
	if c.host.passes(from) {
		c.receive(bytes.Clone(b), from)
	}
}

// Close leaves the group and wakes readers, which get net.ErrClosed.
func (c *groupConn) Close() error {
	return c.close(func() {
		g := &c.host.net.groups
		g.mu.Lock()
		defer g.mu.Unlock()
		g.conns = slices.DeleteFunc(g.conns, func(o *groupConn) bool { return o == c })
	})
}
