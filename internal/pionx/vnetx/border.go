// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package vnetx

import (
	"bytes"
	"net"
	"net/netip"

	"github.com/pion/transport/v2/vnet"
)

// External ports. pion's NAT hands out 0xC000, 0xC001, ... from every start; the border shifts them by an
// amount that depends on the boot, so that a rebooted NAT uses other ports, as a real one would.
const (
	firstPort = 0xC000
	ports     = 0x10000 - firstPort
	bootShift = 4099 // prime to ports: all boots differ until the space wraps
)

// outside translates a port of pion's NAT to the one the internet sees, inside does the reverse.
func outside(port uint16, boot uint64) uint16 {
	return firstPort + uint16((uint64(port-firstPort)+boot*bootShift)%ports)
}

func inside(port uint16, boot uint64) uint16 {
	return firstPort + uint16((uint64(port-firstPort)+ports-boot*bootShift%ports)%ports)
}

// maxGates bounds the outside endpoints that have a socket on the public router. Reaching it closes them all;
// they come back as they are needed.
const maxGates = 2048

// leaving is the public router's chunk filter: a packet from the site's own address is on its way out, any
// other has just come in by a gate. It runs in the router's goroutine with the router's
// lock held, so it takes no lock of the site.
func (s *Site) leaving(c vnet.Chunk, boot uint64) bool {
	src, dst := addrPort(c.SourceAddr()), addrPort(c.DestinationAddr())
	if src.Addr() != s.cfg.Public {
		return true
	}
	if dst.Addr() == s.cfg.Public {
		return !s.cfg.NAT // a public host talks to itself; behind a NAT it would be hairpinning
	}
	if s.cfg.NAT {
		switch {
		case s.exhausted.Load():
			return false
		case src.Port() == 0xFFFF:
			// One more mapping would make pion's router give up for good.
			s.exhausted.Store(true)
		}
		src = netip.AddrPortFrom(src.Addr(), outside(src.Port(), boot))
	}
	s.cfg.Egress(src, dst, bytes.Clone(c.UserData()))
	return false
}

// Ingress brings a packet from outside to the site's public address, where the NAT, if any, judges it. The
// payload is copied. Packets to other addresses, to ports the NAT does not own, or to a closed site are dropped.
func (s *Site) Ingress(src, dst netip.AddrPort, payload []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || dst.Addr() != s.cfg.Public || src.Addr() == s.cfg.Public || !src.Addr().Is4() || src.Port() == 0 {
		s.Unroutable.Add(1)
		return
	}
	port := dst.Port()
	if s.cfg.NAT {
		if port < firstPort {
			s.Unroutable.Add(1)
			return
		}
		port = inside(port, s.boot)
	}
	s.gateMu.Lock()
	defer s.gateMu.Unlock()
	gate, err := s.gate(src)
	if err == nil {
		_, err = gate.WriteTo(payload, &net.UDPAddr{IP: s.cfg.Public.AsSlice(), Port: int(port)})
	}
	if err != nil {
		s.Unroutable.Add(1)
	}
}

// gate returns the socket on the public router that stands for the outside endpoint src. Called with gateMu held.
func (s *Site) gate(src netip.AddrPort) (*vnet.UDPConn, error) {
	if c := s.gated[src]; c != nil {
		return c, nil
	}
	if len(s.gated) >= maxGates {
		for _, c := range s.gated {
			_ = c.Close() // closing twice is its only error
		}
		clear(s.gated)
	}
	n := s.gates[src.Addr()]
	if n == nil {
		var err error
		if n, err = newNet(src.Addr()); err != nil {
			return nil, err
		}
		if err = s.root.AddNet(n); err != nil {
			return nil, err
		}
		s.gates[src.Addr()] = n
	}
	c, err := n.ListenUDP("udp4", net.UDPAddrFromAddrPort(src))
	if err != nil {
		return nil, err
	}
	u, ok := c.(*vnet.UDPConn)
	if !ok {
		return nil, ErrConfig
	}
	s.gated[src] = u
	return u, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
