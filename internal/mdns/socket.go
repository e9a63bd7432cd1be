// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mdns

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

type socket4 struct{ *ipv4.PacketConn }

func newSocket4(pc net.PacketConn) (socket, error) {
	p := ipv4.NewPacketConn(pc)
	_ = p.SetControlMessage(ipv4.FlagInterface|ipv4.FlagTTL, true) // not everywhere; see # Limitations
	if err := p.SetMulticastTTL(ttl); err != nil {
		return nil, err
	}
	_ = p.SetTTL(ttl)                // of unicast answers
	_ = p.SetMulticastLoopback(true) // for other endpoints of this host
	return socket4{p}, nil
}

func (s socket4) read(b []byte) (n int, from netip.AddrPort, ifIndex, hops int, err error) {
	n, cm, src, err := s.ReadFrom(b)
	if cm != nil {
		ifIndex, hops = cm.IfIndex, cm.TTL
	}
	return n, source(src), ifIndex, hops, err
}

func (s socket4) write(b []byte, ifIndex int, to net.Addr) error {
	var cm *ipv4.ControlMessage
	if ifIndex != 0 {
		cm = &ipv4.ControlMessage{IfIndex: ifIndex}
	}
	_, err := s.WriteTo(b, cm, to)
	return err
}

type socket6 struct{ *ipv6.PacketConn }

func newSocket6(pc net.PacketConn) (socket, error) {
	p := ipv6.NewPacketConn(pc)
	_ = p.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true)
	if err := p.SetMulticastHopLimit(ttl); err != nil {
		return nil, err
	}
	_ = p.SetHopLimit(ttl)
	_ = p.SetMulticastLoopback(true)
	return socket6{p}, nil
}

func (s socket6) read(b []byte) (n int, from netip.AddrPort, ifIndex, hops int, err error) {
	n, cm, src, err := s.ReadFrom(b)
	if cm != nil {
		ifIndex, hops = cm.IfIndex, cm.HopLimit
	}
	return n, source(src), ifIndex, hops, err
}

func (s socket6) write(b []byte, ifIndex int, to net.Addr) error {
	var cm *ipv6.ControlMessage
	if ifIndex != 0 {
		cm = &ipv6.ControlMessage{IfIndex: ifIndex}
	}
	_, err := s.WriteTo(b, cm, to)
	return err
}

func source(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
