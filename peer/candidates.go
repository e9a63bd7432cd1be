// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

// hostAddrs lists the addresses of this host's sockets on every interface.
func (e *Endpoint) hostAddrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range e.socks {
		local := s.conn.LocalAddr()
		if !local.Addr().IsUnspecified() {
			out = append(out, local)
			continue
		}
		addrs, err := e.cfg.Network.LocalAddrs()
		if err != nil {
			continue
		}
		if e.cfg.Loopback {
			addrs = append(addrs, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
		}
		for _, a := range addrs {
			if v6 := a.Is6() && !a.Is4In6(); v6 == s.v6 {
				out = append(out, netip.AddrPortFrom(a, local.Port()))
			}
		}
	}
	return out
}

// localCandidates lists the addresses at which this endpoint may be reached and of which tells permits that they be
// told, best first.
func (e *Endpoint) localCandidates(tells func(kind string, a netip.AddrPort) bool) []signaling.Candidate {
	var out []signaling.Candidate
	seen := make(map[netip.AddrPort]bool)
	add := func(kind string, addrs []netip.AddrPort, room int) {
		for _, a := range addrs {
			if a.IsValid() && !seen[a] && len(out) < room && tells(kind, a) {
				seen[a] = true
				out = append(out, signaling.Candidate{Kind: kind, Addr: a})
			}
		}
	}
	relayed := e.relays.addrs()
	add(signaling.CandidateHost, e.hostAddrs(), signaling.MaxCandidates-len(relayed)-4)
	if tells(signaling.CandidateSrflx, netip.AddrPort{}) {
		e.portmap.start()
	}
	// What the router forwards comes first: it is open to everybody, not only to whom we have written.
	add(signaling.CandidateSrflx, e.portmap.addrs(), signaling.MaxCandidates)
	add(signaling.CandidateSrflx, e.stun.addrs(), signaling.MaxCandidates)
	add(signaling.CandidateRelay, relayed, signaling.MaxCandidates)
	return out
}

// usable says whether packets may be sent to an address that a peer has named. A peer must not be able to make us
// send to ourselves, to groups or to addresses that mean something else on every host.
func (e *Endpoint) usable(a netip.AddrPort) bool {
	ip := a.Addr()
	switch {
	case !a.IsValid() || a.Port() == 0 || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" || ip.Is4In6():
		return false
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return false
	case ip.IsLoopback():
		return e.cfg.Loopback
	case ip.IsLinkLocalUnicast(): // names no interface, and on IPv4 a cloud's metadata service
		return false
	}
	return true
}
