// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import "fmt"

// Rebind makes the NAT forget everything and use other ports from now on, as a home router does that was restarted:
// sockets behind it keep working, but are seen at another port of the same address. UDP only; TCP connections live on. A
// symmetric NAT just draws new ports. The site must have a NAT.
//
// A socket of a [Cone] site must have an ephemeral port (32768 to 60999) to be moved.
func (s *Site) Rebind() {
	s.net.tb.Helper()
	switch s.cfg.NAT {
	case Cone:
		s.shift = (s.shift + 7919) % ephemeralCount
		s.net.nft(s.router, shifted(s.shift))
	case Symmetric:
	default:
		s.net.tb.Fatalf("netns: site %s has no NAT", s.name)
	}
	s.forget()
}

// Renumber gives the router another public IPv4 address in place of the one it had, as an Internet provider does after
// an outage. TCP connections through the NAT are dead, silently. The site must have a NAT.
func (s *Site) Renumber() {
	s.net.tb.Helper()
	if s.cfg.NAT == Public || !s.has4() {
		s.net.tb.Fatalf("netns: site %s has no NAT", s.name)
	}
	old := s.wan
	s.wan = s.wan.Next()
	s.net.ip(s.router,
		// Alone in its subnet, the new address is a primary one and survives the old one.
		fmt.Sprintf("addr del %s/24 dev wan", old),
		fmt.Sprintf("addr add %s/24 dev wan", s.wan),
		fmt.Sprintf("route replace default via %s", s.wanAddr(1)),
	)
	s.forget()
}

// forget empties the connection tracking of the router.
func (s *Site) forget() {
	s.net.tb.Helper()
	if err := within(s.router, flushConntrack); err != nil {
		s.net.tb.Fatalf("netns: flushing the connection tracking of %s: %v", s.name, err)
	}
}
