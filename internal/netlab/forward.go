// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab/nat"
)

// judges are two machines for the same addresses, because UDP and TCP have ports of their own; nil if nobody judges.
type judges struct{ udp, tcp *nat.NAT }

// tcpLifetime is how long a NAT keeps the mapping of a silent TCP connection, at least (RFC 5382 REQ-5).
const tcpLifetime = 2*time.Hour + 4*time.Minute

func newJudges(c *NATConfig, build func(c *NATConfig) *nat.NAT) judges {
	t := *c
	t.Lifetime = max(c.Lifetime, tcpLifetime)
	t.Seed++
	return judges{build(c), build(&t)}
}

func (j judges) any() bool { return j.udp != nil }

func (j judges) of(m message) *nat.NAT {
	if m.tcp != nil {
		return j.tcp
	}
	return j.udp
}

func (j judges) restart() {
	if j.any() {
		j.udp.Restart()
		j.tcp.Restart()
	}
}

// send takes a packet from one of the site's nodes on its way. The payload belongs to the network from now on.
func (s *site) send(m message) {
	s.mu.Lock()
	if to := s.nodes[m.dst.Addr()]; to != nil {
		s.mu.Unlock()
		s.net.hand(to, m)
		return
	}
	if s.block && m.tcp == nil || s.nat.any() && s.lan.Contains(m.dst.Addr()) {
		s.mu.Unlock()
		s.net.stats.unroutable.Add(1)
		return
	}
	if j := s.judge(m, m.src.Addr()); j != nil {
		now := time.Now()
		outside, ok := j.Out(now, m.src, m.dst)
		if ok && m.dst.Addr() == s.outer { // a private host behind a NAT: turned round, or not
			var to node
			if m.dst, ok = j.Hairpin(now, outside, m.dst); ok {
				to = s.nodes[m.dst.Addr()]
			}
			s.mu.Unlock()
			if to != nil {
				m.src = outside
				s.net.hand(to, m)
			}
			return
		}
		if !ok {
			s.mu.Unlock()
			return
		}
		m.src = outside
	}
	s.mu.Unlock()
	if s.parent != nil {
		s.parent.send(m)
		return
	}
	_ = s.net.enter(inbound{packet: Packet{From: m.src, To: m.dst, Payload: m.payload}, tcp: m.tcp, from: s}) // closed: lost
}

// take takes a packet that has come to the site from outside.
func (s *site) take(m message) {
	s.mu.Lock()
	if s.block && m.tcp == nil || m.src.Addr() == s.outer || m.src.Port() == 0 || m.src.Addr().Is4() != m.dst.Addr().Is4() {
		s.mu.Unlock()
		s.net.stats.unroutable.Add(1)
		return
	}
	if j := s.judge(m, m.dst.Addr()); j != nil {
		var ok bool
		if m.dst, ok = j.In(time.Now(), m.src, m.dst); !ok {
			s.mu.Unlock()
			return
		}
	}
	to := s.nodes[m.dst.Addr()]
	s.mu.Unlock()
	if to == nil {
		s.net.stats.unroutable.Add(1)
		return
	}
	to.take(m)
}

// judge returns what judges packets from or to an address of the site; nil: nobody does.
func (s *site) judge(m message, a netip.Addr) *nat.NAT {
	if s.nat.any() && a.Is4() {
		return s.nat.of(m)
	}
	return s.firewall.of(m)
}

// reboot restarts the NAT and the firewall.
func (s *site) reboot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nat.restart()
	s.firewall.restart()
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
		if s.nat.any() {
			s.nat.udp.SetAddr(s.outer)
			s.nat.tcp.SetAddr(s.outer)
		}
	}
	s.firewall.restart()
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
