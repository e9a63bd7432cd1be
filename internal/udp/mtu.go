// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"net"
	"net/netip"
)

const (
	// MaxDatagram is the largest UDP payload worth trying on any path: what fits jumbo frames of 9000 bytes over IPv6.
	MaxDatagram = 8952

	ethernet = 1500 // the MTU to assume where there is nothing to ask
	overIPv4 = 20 + 8
	overIPv6 = 40 + 8
)

// MaxPayload returns the largest UDP payload that can leave this host toward to, in bytes, but no more than
// [MaxDatagram]: what the route's interface takes. The path may take less. It costs three system calls.
func (c *Conn) MaxPayload(to netip.Addr) int {
	to = to.Unmap()
	mtu := ethernet
	if _, ok := c.pc.(*net.UDPConn); ok {
		if m := routeMTU(to); m > 0 {
			mtu = m
		}
	}
	over := overIPv4
	if !to.Is4() {
		over = overIPv6
	}
	return min(max(mtu-over, 0), MaxDatagram)
}
