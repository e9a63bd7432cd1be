// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Public addresses, of a root name server, that the way out is looked up for. Nothing is sent there.
var (
	public4 = netip.MustParseAddr("198.41.0.4")
	public6 = netip.MustParseAddr("2001:503:ba3e::2:30")
)

// list reads the state by what package net knows, which is what all systems have in common.
func list() (State, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return State{}, fmt.Errorf("netwatch: interfaces: %w", err)
	}
	var s State
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		s.Interfaces = append(s.Interfaces, Interface{
			Name:     i.Name,
			Loopback: i.Flags&net.FlagLoopback != 0,
			Up:       i.Flags&net.FlagUp != 0,
			Running:  i.Flags&net.FlagRunning != 0,
			Addrs:    netipAddrs(addrs),
		})
	}
	s.Default4, s.Default6 = s.wayTo("udp4", public4), s.wayTo("udp6", public6)
	return s.sorted(), nil
}

func netipAddrs(addrs []net.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out
}

// wayTo finds out by which address packets would leave: connecting a UDP socket chooses one and sends nothing.
func (s State) wayTo(network string, dest netip.Addr) Route {
	c, err := net.DialUDP(network, nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dest, 9)))
	if err != nil {
		return Route{}
	}
	defer c.Close()
	source := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	r := Route{Source: source}
	for _, i := range s.Interfaces {
		if slices.Contains(i.Addrs, source) {
			r.Interface = i.Name
		}
	}
	return r
}
