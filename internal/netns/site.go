// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// A NAT is what a site's router does to addresses and to packets that nobody asked for.
type NAT uint8

const (
	// Public is a router that only routes: hosts have public addresses and everything may come in.
	Public NAT = iota
	// Cone is a NAT that maps a socket to the same port for every destination and lets in only who was written to.
	Cone
	// Symmetric is a NAT that maps a socket to another random port for every destination.
	Symmetric
)

// String is "public", "cone" or "symmetric".
func (n NAT) String() string {
	switch n {
	case Cone:
		return "cone"
	case Symmetric:
		return "symmetric"
	default:
		return "public"
	}
}

// A Family says which addresses a site has.
type Family uint8

const (
	Dual Family = iota // IPv4 and IPv6
	IPv4               // IPv4 only
	IPv6               // IPv6 only
)

// A SiteConfig describes a site. The zero value is a public one with both address families and a perfect link.
type SiteConfig struct {
	NAT    NAT
	Family Family

	// BlockUDP drops all UDP of the site, silently; TCP passes.
	BlockUDP bool

	// Loss is the probability, from 0 to 1, with which the router drops a packet, in each direction. Packets between
	// hosts of the same site are not lost.
	Loss float64

	// Rate is the speed of the link in bits per second, in each direction, behind a queue of 50 ms. If zero, it
	// is as fast as the machine.
	Rate int

	// MTU is that of the link, which LAN and hosts do not know of. If zero, 1500.
	MTU int
}

// A Site is a router and the hosts behind it.
type Site struct {
	net    *Net
	cfg    SiteConfig
	name   string
	router string // its namespace
	number int
	hosts  int
	wan    netip.Addr // the router's present IPv4 address, if it has one
	shift  int        // see Rebind
}

// Site makes a site with no hosts. A nil config is the zero config.
func (n *Net) Site(name string, c *SiteConfig) *Site {
	n.tb.Helper()
	n.sites++
	s := &Site{net: n, name: name, number: n.sites}
	if c != nil {
		s.cfg = *c
	}
	if s.number > 200 {
		n.tb.Fatal("netns: more than 200 sites")
	}
	if s.cfg.MTU == 0 {
		s.cfg.MTU = 1500
	}
	s.router = n.namespace(name+"-router", true)

	link := "site" + strconv.Itoa(s.number) // the core's end
	n.run("", "ip", "link", "add", "wan", "netns", s.router, "mtu", strconv.Itoa(s.cfg.MTU),
		"type", "veth", "peer", "name", link, "netns", n.core, "mtu", strconv.Itoa(s.cfg.MTU))
	inside := []string{"link set wan up", "link add lan type bridge", "link set lan up"}
	outside := []string{"link set " + link + " up"}
	if s.has4() {
		s.wan = s.wanAddr(2)
		inside = append(inside,
			fmt.Sprintf("addr add %s/24 dev wan", s.wan),
			fmt.Sprintf("route add default via %s", s.wanAddr(1)),
			fmt.Sprintf("addr add %s/24 dev lan", s.lanAddr(1)))
		outside = append(outside, fmt.Sprintf("addr add %s/24 dev %s", s.wanAddr(1), link))
		if s.cfg.NAT == Public {
			outside = append(outside, fmt.Sprintf("route add %s/24 via %s", s.lanAddr(0), s.wan))
		}
	}
	if s.has6() {
		inside = append(inside,
			fmt.Sprintf("addr add %s/64 dev wan nodad", s.wanAddr6(2)),
			fmt.Sprintf("route add default via %s", s.wanAddr6(1)),
			fmt.Sprintf("addr add %s/64 dev lan nodad", s.lanAddr6(1)))
		outside = append(outside,
			fmt.Sprintf("addr add %s/64 dev %s nodad", s.wanAddr6(1), link),
			fmt.Sprintf("route add %s/64 via %s", s.lanAddr6(0), s.wanAddr6(2)))
	}
	n.ip(n.core, outside...)
	n.ip(s.router, inside...)
	n.nft(s.router, ruleset(&s.cfg))
	if s.cfg.Rate > 0 {
		tbf := []string{"root", "tbf", "rate", strconv.Itoa(s.cfg.Rate) + "bit", "burst", "32kb", "latency", "50ms"}
		n.run("", "tc", slices.Concat([]string{"-n", s.router, "qdisc", "add", "dev", "wan"}, tbf)...)
		n.run("", "tc", slices.Concat([]string{"-n", n.core, "qdisc", "add", "dev", link}, tbf)...)
	}
	return s
}

// Addr is the router's IPv4 address outside, at which its hosts are seen when they are behind a NAT. It is not valid at
// an IPv6-only site.
func (s *Site) Addr() netip.Addr { return s.wan }

// Router is the site's router as a host, at its address inside.
func (s *Site) Router() *Host {
	h := &Host{site: s, name: s.router}
	if s.has4() {
		h.a4 = s.lanAddr(1)
	}
	if s.has6() {
		h.a6 = s.lanAddr6(1)
	}
	return h
}

func (s *Site) has4() bool { return s.cfg.Family != IPv6 }
func (s *Site) has6() bool { return s.cfg.Family != IPv4 }

func (s *Site) wanAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{5, 0, byte(s.number), byte(i)})
}

func (s *Site) lanAddr(i int) netip.Addr {
	if s.cfg.NAT == Public {
		return netip.AddrFrom4([4]byte{5, 1, byte(s.number), byte(i)})
	}
	return netip.AddrFrom4([4]byte{192, 168, byte(s.number), byte(i)})
}

func (s *Site) wanAddr6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x2a, 3: 5, 7: byte(s.number), 15: byte(i)})
}

func (s *Site) lanAddr6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x2a, 3: 5, 5: 1, 7: byte(s.number), 15: byte(i)})
}
