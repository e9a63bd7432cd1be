// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// An AddressPolicy says which addresses of this host a peer may learn, from what it is told and from the packets it gets,
// and which paths to it are used. It is this side's alone and nothing of it goes over the wire; two peers need not
// agree. A value that is none of the constants is taken for RelayOnly. docs/SECURITY.md says who else sees what.
type AddressPolicy int

const (
	// Direct tells a peer all addresses once its offer is authorised, and uses whatever path is best.
	Direct AddressPolicy = iota

	// DirectAfterAccept is RelayOnly until [Session.AllowDirect], and Direct from then on: for a call that rings
	// before somebody answers it.
	DirectAfterAccept

	// RelayOnly tells a peer our addresses at relays and no others, and sends and takes packets only through those
	// relays. The peer's own relay does not see this host either. Without a relay there is no session.
	RelayOnly

	// LANOnly tells a peer the private addresses of this host (RFC 1918, RFC 4193) and uses only paths within its
	// own networks: no relay, no packet to any other address. A peer that is elsewhere cannot be reached, which
	// [ErrUnreachable] says. The rendezvous may introduce the two; no STUN server and no relay is needed. A network that
	// has only public or link-local addresses is none in this sense.
	LANOnly
)

// String returns the policy's name in lower case.
func (p AddressPolicy) String() string {
	switch p {
	case Direct:
		return "direct"
	case DirectAfterAccept:
		return "direct after accept"
	case LANOnly:
		return "lan only"
	default:
		return "relay only"
	}
}

// strangers stands for whoever has yet to say who it is.
var strangers ID

// addressPolicy asks the application. No lock may be held.
func (e *Endpoint) addressPolicy(id ID) AddressPolicy {
	if e.cfg.Addresses == nil {
		return Direct
	}
	return e.cfg.Addresses(id)
}

// dialable says whether a peer that dials an address of this host from a may learn that anybody is there.
func (e *Endpoint) dialable(id ID, a netip.AddrPort) bool {
	return len(e.dialableAddrs(e.addressPolicy(id), []netip.AddrPort{a})) > 0
}

// dialableAddrs returns those of a list to which packets of a dial without a rendezvous may go. That shows our address,
// so somebody who is to learn it later is not dialled like this at all.
func (e *Endpoint) dialableAddrs(p AddressPolicy, list []netip.AddrPort) []netip.AddrPort {
	switch p {
	case Direct:
		return list
	case LANOnly:
		lan := e.localNets()
		return slices.DeleteFunc(slices.Clone(list), func(a netip.AddrPort) bool { return !onLAN(lan, a.Addr().Unmap()) })
	default:
		return nil
	}
}

// AllowDirect lets the peer learn the addresses of this host from now on, if the session is one with DirectAfterAccept:
// they are told inside the session, which moves to a direct path when there is one. It does nothing to other sessions,
// nor to a later session with the same peer, and it does not wait.
func (s *Session) AllowDirect() {
	s.post(func(now time.Time) {
		if s.addresses != DirectAfterAccept || s.phase > phaseReady {
			return
		}
		s.addresses = Direct
		s.policyChanged(now)
	})
}

// permits says whether a packet may go or come by a path. Everything that this session sends and takes asks it.
func (s *Session) permits(k mobility.Key) bool {
	switch s.addresses {
	case Direct:
		return true
	case LANOnly:
		return k.Via == 0 && onLAN(s.lanNets(), k.Remote.Addr())
	default:
		return k.Via > 0
	}
}

// tells says whether the peer may be told an address of this host.
func (s *Session) tells(kind string, a netip.AddrPort) bool {
	switch s.addresses {
	case Direct:
		return true
	case LANOnly:
		return kind == signaling.CandidateHost && onLAN(s.lanNets(), a.Addr())
	default:
		return kind == signaling.CandidateRelay
	}
}

// pathPolicy is what the path machine is to obey.
func (s *Session) pathPolicy() mobility.Policy {
	p := s.e.cfg.Policy
	p.Battery = s.e.battery.Load()
	switch s.addresses {
	case Direct:
	case LANOnly:
		lan := s.lanNets()
		p.Allowed = func(k mobility.Key) bool { return k.Via == 0 && onLAN(lan, k.Remote.Addr()) }
	default:
		p.RelayOnly = true
	}
	return p
}

// policyChanged makes what permits and tells say now take effect.
func (s *Session) policyChanged(now time.Time) {
	if s.mob != nil {
		s.mob.SetPolicy(now, s.pathPolicy())
	}
	s.candidatesChanged(now)
}

// admitChecks limits the connectivity checks that an ICE agent answers. A peer may send one from anywhere.
func (s *Session) admitChecks() func(netip.AddrPort) bool {
	if s.addresses != LANOnly {
		return nil
	}
	return func(remote netip.AddrPort) bool { return onLAN(s.lanNets(), remote.Addr()) }
}

// learnLAN finds out which networks this host is on, for a session that uses no others.
func (s *Session) learnLAN() {
	if s.addresses == LANOnly {
		nets := s.e.localNets()
		s.lan.Store(&nets)
	}
}

// relearnLAN does so when the host may be on others.
func (s *Session) relearnLAN(now time.Time) {
	s.learnLAN()
	if s.addresses == LANOnly && s.mob != nil {
		s.mob.SetPolicy(now, s.pathPolicy())
	}
}

func (s *Session) lanNets() []netip.Prefix {
	if nets := s.lan.Load(); nets != nil {
		return *nets
	}
	return nil
}

// localNets lists the networks of private addresses that this host is on.
func (e *Endpoint) localNets() []netip.Prefix {
	var all []netip.Prefix
	if n, ok := e.cfg.Network.(PrefixNetwork); ok {
		all, _ = n.LocalPrefixes()
	} else {
		addrs, _ := e.cfg.Network.LocalAddrs()
		for _, a := range addrs {
			bits := 64
			if a.Is4() {
				bits = 24
			}
			all = append(all, netip.PrefixFrom(a, bits).Masked())
		}
	}
	if e.cfg.Loopback {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8), netip.PrefixFrom(netip.IPv6Loopback(), 128))
	}
	return all
}

// onLAN says whether ip is a private address in one of some networks.
func onLAN(nets []netip.Prefix, ip netip.Addr) bool {
	return (ip.IsPrivate() || ip.IsLoopback()) && slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}
