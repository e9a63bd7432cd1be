// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab/nat"
)

// A node is what has an address on a site's network: a host, or a site behind this one.
type node interface {
	// take gets a packet that was sent to one of the node's addresses. The payload is its own.
	take(src, dst netip.AddrPort, payload []byte)
}

// A site is a network with its link to the core, or to the site that it is behind: a public host alone, or a NAT and what
// is behind it.
type site struct {
	net    *Network
	number int
	parent *site // nil: the core
	kind   NAT
	block  bool // drops all UDP
	lan    netip.Prefix

	// Of the way to the core; unused behind another site.
	link link
	up   badLink
	down badLink

	mu    sync.Mutex
	outer netip.Addr // towards the parent: the NAT's, or the public host's
	boots int        // of addresses
	nat   *nat.NAT   // nil: none
	nodes map[netip.Addr]node
	next  int // number of the next node
}

// newSite makes a site; it is not reachable before connect. Called with n.mu held.
func (n *Network) newSite(c *HostConfig) (*site, error) {
	cfg := c.NAT.Config()
	if c.NATConfig != nil {
		cfg = *c.NATConfig
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = n.cfg.MappingLifetime
	}
	if c.OneWay < 0 || c.Jitter < 0 || !probability(c.Loss) || int(c.NAT) >= len(natNames) || cfg.Check() != nil {
		return nil, fmt.Errorf("%w: host %+v", ErrConfig, c)
	}
	i := len(n.sites)
	if i >= maxSites {
		return nil, fmt.Errorf("%w: more than %d sites", ErrConfig, maxSites)
	}
	s := &site{
		net:    n,
		number: i,
		kind:   c.NAT,
		lan:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
		link:   link{oneWay: c.OneWay, jitter: c.Jitter, loss: c.Loss},
		nodes:  make(map[netip.Addr]node),
		next:   2,
	}
	s.up.goOn, s.down.goOn = n.cross, n.arrive
	s.outer = s.publicAddr()
	if c.NAT != Public || c.NATConfig != nil {
		cfg.Seed += (n.cfg.Seed + uint64(i)<<20) * 0x9e3779b97f4a7c15
		s.nat = nat.New(s.outer, &cfg)
	}
	n.sites = append(n.sites, s)
	n.byAddr[s.outer] = s
	return s, nil
}

// publicAddr returns the site's address at the core. Addresses come again after 254 of them.
func (s *site) publicAddr() netip.Addr {
	return netip.AddrFrom4([4]byte{5, byte(s.number >> 8), byte(s.number), byte(1 + s.boots%254)})
}

// join gives a node an address on the site's network.
func (s *site) join(what node) (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nat == nil {
		if s.nodes[s.outer] != nil {
			return netip.Addr{}, fmt.Errorf("%w: %v has no private network", ErrConfig, s.outer)
		}
		s.nodes[s.outer] = what
		return s.outer, nil
	}
	for range 253 {
		base := s.lan.Addr().As4()
		base[3] += byte(s.next)
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

// rejoin gives a node the address that it had, or another if that is taken or was renumbered.
func (s *site) rejoin(what node, addr netip.Addr) (netip.Addr, error) {
	s.mu.Lock()
	if s.nodes[addr] == nil && (s.nat != nil || addr == s.outer) {
		s.nodes[addr] = what
		s.mu.Unlock()
		return addr, nil
	}
	s.mu.Unlock()
	return s.join(what)
}

func (s *site) leave(addr netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, addr)
}

// send takes a packet from one of the site's nodes on its way. The payload belongs to the network from now on.
func (s *site) send(src, dst netip.AddrPort, payload []byte) {
	s.mu.Lock()
	if to := s.nodes[dst.Addr()]; to != nil {
		s.mu.Unlock()
		to.take(src, dst, payload)
		return
	}
	if s.block || s.nat != nil && s.lan.Contains(dst.Addr()) {
		s.mu.Unlock()
		s.net.stats.unroutable.Add(1)
		return
	}
	if s.nat != nil {
		now := time.Now()
		outside, ok := s.nat.Out(now, src, dst)
		if ok && dst.Addr() == s.outer {
			var to node
			if dst, ok = s.nat.Hairpin(now, outside, dst); ok {
				to = s.nodes[dst.Addr()]
			}
			s.mu.Unlock()
			if to != nil {
				to.take(outside, dst, payload)
			}
			return
		}
		if !ok {
			s.mu.Unlock()
			return
		}
		src = outside
	}
	s.mu.Unlock()
	if s.parent != nil {
		s.parent.send(src, dst, payload)
		return
	}
	_ = s.net.enter(inbound{packet: Packet{From: src, To: dst, Payload: payload}, from: s}) // closed: lost
}

// take takes a packet that has come to the site from outside.
func (s *site) take(src, dst netip.AddrPort, payload []byte) {
	s.mu.Lock()
	if s.block || src.Addr() == s.outer || src.Port() == 0 {
		s.mu.Unlock()
		s.net.stats.unroutable.Add(1)
		return
	}
	if s.nat != nil {
		var ok bool
		if dst, ok = s.nat.In(time.Now(), src, dst); !ok {
			s.mu.Unlock()
			return
		}
	}
	to := s.nodes[dst.Addr()]
	s.mu.Unlock()
	if to == nil {
		s.net.stats.unroutable.Add(1)
		return
	}
	to.take(src, dst, payload)
}

// reboot restarts the NAT.
func (s *site) reboot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nat != nil {
		s.nat.Restart()
	}
}

// renumber gives the site another public address. On a public site the host is told.
func (s *site) renumber() {
	n := s.net
	n.mu.Lock()
	s.mu.Lock()
	old := s.outer
	s.boots++
	s.outer = s.publicAddr()
	delete(n.byAddr, old)
	n.byAddr[s.outer] = s
	if s.nat != nil {
		s.nat.SetAddr(s.outer)
	}
	moved := s.nodes[old]
	if moved != nil {
		delete(s.nodes, old)
		s.nodes[s.outer] = moved
	}
	now := s.outer
	s.mu.Unlock()
	n.mu.Unlock()
	n.log.Debug("netlab: renumbered", slog.Any("from", old), slog.Any("to", now))
	if h, ok := moved.(*Host); ok {
		h.readdress(old, now)
	}
}

// public returns the address by which the internet knows the site.
func (s *site) public() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outer
}
