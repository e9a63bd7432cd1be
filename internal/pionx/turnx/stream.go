// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"net"
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// NewStreamConn frames TURN over a TCP or TLS connection for ClientConfig.Conn and ServerConfig.Conn. It takes over c.
// See [stunx.StreamConn] for what ends the stream.
func NewStreamConn(c net.Conn) net.PacketConn { return stunx.NewStreamConn(c, 0) }

// isStream reports whether packets on pc arrive reliably and from one address only.
func isStream(pc net.PacketConn) bool {
	_, ok := pc.(*stunx.StreamConn)
	return ok
}

// addrPort converts an address of a packet connection; IPv4-mapped addresses are unmapped and zones kept.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	case interface{ AddrPort() netip.AddrPort }:
		ap = a.AddrPort()
	default:
		if a != nil {
			ap, _ = netip.ParseAddrPort(a.String())
		}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
