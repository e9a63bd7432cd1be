// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab/nat"
)

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
	if m := s.machine(src.Addr()); m != nil {
		now := time.Now()
		outside, ok := m.Out(now, src, dst)
		if ok && dst.Addr() == s.outer { // a private host behind a NAT: turned round, or not
			var to node
			if dst, ok = m.Hairpin(now, outside, dst); ok {
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
	if m := s.machine(dst.Addr()); m != nil {
		var ok bool
		if dst, ok = m.In(time.Now(), src, dst); !ok {
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

// machine returns what judges packets from or to an address of the site; nil: nobody does.
func (s *site) machine(a netip.Addr) *nat.NAT {
	if s.nat != nil && a.Is4() {
		return s.nat
	}
	return s.firewall
}

// reboot restarts the NAT and the firewall.
func (s *site) reboot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nat != nil {
		s.nat.Restart()
	}
	if s.firewall != nil {
		s.firewall.Restart()
	}
}

// readdress gives the site, which is at the core, other public addresses. It returns the hosts whose own addresses have
// changed, with the change.
func (s *site) readdress() map[*Host][2]addrs {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	moved := make(map[*Host][2]addrs)
	s.mu.Lock()
	before := s.outer
	s.renumber++
	if before.IsValid() {
		s.outer = s.publicAddr()
		delete(n.byAddr, before)
		n.byAddr[s.outer] = s
		if s.nat != nil {
			s.nat.SetAddr(s.outer)
		}
	}
	if s.firewall != nil {
		s.firewall.Restart()
	}
	type change struct {
		host     *Host
		old, now netip.Addr
	}
	var changes []change
	for a, what := range s.nodes {
		h, ok := what.(*Host)
		switch {
		case !ok || a.Is4() && a != before:
		case a.Is4():
			changes = append(changes, change{h, a, s.outer})
		default:
			b := a.As16()
			changes = append(changes, change{h, a, s.addrIPv6(int(b[14])<<8 | int(b[15]))})
		}
	}
	s.mu.Unlock()
	for _, c := range changes {
		m := moved[c.host]
		if c.old.Is4() {
			s.mu.Lock()
			delete(s.nodes, c.old)
			s.nodes[c.now] = c.host
			s.mu.Unlock()
			m[0].v4, m[1].v4 = c.old, c.now
		} else {
			s.withdraw(c.old)
			s.announce(c.now, c.host)
			m[0].v6, m[1].v6 = c.old, c.now
		}
		moved[c.host] = m
	}
	n.log.Debug("netlab: renumbered", slog.Any("from", before), slog.Any("to", s.outer))
	return moved
}
