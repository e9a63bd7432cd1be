// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/seed-98f0d4c2/runnel/internal/netlab/nat"
)

// A node is what has an address on a site's network: a host, or a site behind this one.
type node interface {
	// take gets a packet that was sent to one of the node's addresses. The payload is its own.
	take(message)
}

// A message is a packet on its way to a node.
type message struct {
	src, dst netip.AddrPort
	payload  []byte
	tcp      *segment // nil: UDP
}

// A site is a network with its link to the core, or to the site that it is behind: a public host alone, or a NAT and what
// is behind it.
type site struct {
	net    *Network
	number int
	parent *site // nil: the core
	kind   NAT
	block  bool // drops all UDP
	family IPv6
	lan    netip.Prefix

	// Of the way to the core; unused behind another site.
	link link
	up   badLink
	down badLink

	mu       sync.Mutex
	outer    netip.Addr // IPv4 towards the parent: the NAT's, or the public host's; none if there is IPv6 only
	renumber int        // how often
	nat      judges     // of IPv4
	firewall judges     // of addresses that are not translated
	nodes    map[netip.Addr]node
	next     int // number of the next node
}

// newSite makes a site. Called with n.mu held.
func (n *Network) newSite(c *HostConfig, parent *site) (*site, error) {
	natCfg, wallCfg, err := c.check(n.cfg.MappingLifetime)
	if err != nil {
		return nil, err
	}
	i := len(n.sites)
	if i >= maxSites {
		return nil, fmt.Errorf("%w: more than %d sites", ErrConfig, maxSites)
	}
	s := &site{
		net:    n,
		number: i,
		parent: parent,
		kind:   c.NAT,
		block:  c.BlockUDP,
		family: c.IPv6,
		lan:    c.LAN.Masked(),
		link:   link{oneWay: c.OneWay, jitter: c.Jitter, loss: c.Loss},
		nodes:  make(map[netip.Addr]node),
		next:   2,
	}
	if !s.lan.IsValid() {
		s.lan = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
	}
	s.up.goOn, s.down.goOn = n.cross, n.arrive
	if s.family != OnlyIPv6 {
		if parent == nil {
			s.outer = s.publicAddr()
			n.byAddr[s.outer] = s
		} else if s.outer, err = parent.joinIPv4(s); err != nil {
			return nil, err
		}
		if natCfg != nil {
			natCfg.Seed += (n.cfg.Seed + uint64(i)<<20) * 0x9e3779b97f4a7c15
			s.nat = newJudges(natCfg, func(c *NATConfig) *nat.NAT { return nat.New(s.outer, c) })
		}
	}
	if wallCfg != nil {
		s.firewall = newJudges(wallCfg, nat.NewFirewall)
	}
	n.sites = append(n.sites, s)
	return s, nil
}

// root returns the site at the core.
func (s *site) root() *site {
	for s.parent != nil {
		s = s.parent
	}
	return s
}

// publicAddr returns the site's IPv4 address at the core. Addresses come again after 254 of them.
func (s *site) publicAddr() netip.Addr {
	return netip.AddrFrom4([4]byte{5, byte(s.number >> 8), byte(s.number), byte(1 + s.renumber%254)})
}

// addrIPv6 returns the address of a node, of which a site can have two in its life.
func (s *site) addrIPv6(number int) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0x2a, 0x05, byte(s.number >> 8), byte(s.number), byte(s.renumber >> 8), byte(s.renumber),
		14: byte(number >> 8), 15: byte(number),
	})
}

// addrs are what a host has on a site; either may be none.
type addrs struct{ v4, v6 netip.Addr }

func (a addrs) has(b netip.Addr) bool { return b.IsValid() && (a.v4 == b || a.v6 == b) }

// join gives a host addresses on the site's network: those that it wants, if it had them and they are free.
func (s *site) join(h *Host, want addrs) (got addrs, err error) {
	if s.family != OnlyIPv6 {
		if got.v4, err = s.rejoinIPv4(h, want.v4); err != nil {
			return addrs{}, err
		}
	}
	if s.family != OnlyIPv4 {
		got.v6 = s.joinIPv6(h, want.v6)
	}
	return got, nil
}

// joinIPv4 gives a node an IPv4 address on the site's network.
func (s *site) joinIPv4(what node) (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.nat.any() {
		if _, host := what.(*Host); !host || s.nodes[s.outer] != nil || s.family == OnlyIPv6 {
			return netip.Addr{}, fmt.Errorf("%w: site %d has no private network", ErrConfig, s.number)
		}
		s.nodes[s.outer] = what
		return s.outer, nil
	}
	for range 253 {
		base := s.lan.Addr().As4()
		base[3] = byte(s.next)
		if s.next++; s.next > 254 {
			s.next = 2
		}
		if a := netip.AddrFrom4(base); s.nodes[a] == nil {
			s.nodes[a] = what
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: private network is full", ErrConfig)
}

// rejoinIPv4 gives a node the address that it had, or another if that is taken or was renumbered.
func (s *site) rejoinIPv4(what node, addr netip.Addr) (netip.Addr, error) {
	s.mu.Lock()
	if addr.IsValid() && s.nodes[addr] == nil && (s.nat.any() || addr == s.outer) {
		s.nodes[addr] = what
		s.mu.Unlock()
		return addr, nil
	}
	s.mu.Unlock()
	return s.joinIPv4(what)
}

// joinIPv6 gives a node a global address, and makes it known up to the core.
func (s *site) joinIPv6(what node, addr netip.Addr) netip.Addr {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	s.mu.Lock()
	if !addr.IsValid() || s.nodes[addr] != nil || addr.As16()[5] != byte(s.renumber) || addr.As16()[4] != byte(s.renumber>>8) {
		for addr = s.addrIPv6(s.next); s.nodes[addr] != nil; addr = s.addrIPv6(s.next) {
			s.next++
		}
		s.next++
	}
	s.mu.Unlock()
	s.announce(addr, what)
	return addr
}

// announce makes an IPv6 address known up to the core. Called with n.mu held.
func (s *site) announce(addr netip.Addr, what node) {
	for at := s; at != nil; at = at.parent {
		at.mu.Lock()
		at.nodes[addr] = what
		at.mu.Unlock()
		if at.parent == nil {
			s.net.byAddr[addr] = at
		}
		what = at
	}
}

// withdraw undoes announce. Called with n.mu held.
func (s *site) withdraw(addr netip.Addr) {
	for at := s; at != nil; at = at.parent {
		at.mu.Lock()
		delete(at.nodes, addr)
		at.mu.Unlock()
	}
	delete(s.net.byAddr, addr)
}

func (s *site) leave(a addrs) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if a.v6.IsValid() {
		s.withdraw(a.v6)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, a.v4)
}

// public returns the IPv4 address by which the internet knows the site; none if there is IPv6 only.
func (s *site) public() netip.Addr {
	s = s.root()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outer
}
