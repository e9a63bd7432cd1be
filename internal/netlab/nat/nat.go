// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package nat

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// NAT is a translator, or a firewall. It is not safe for concurrent use, and time must not run backwards.
type NAT struct {
	cfg      Config
	addr     netip.Addr
	firewall bool
	rng      *rand.Rand

	byInside  map[key]*mapping
	byOutside map[netip.AddrPort]*mapping
	sessions  int       // of all mappings, also those that have expired and are still there
	swept     time.Time // when expired ones were last looked for

	boot    uint64
	next    uint16    // sequential port
	arrival time.Time // of the next other host that uses one

	tokens   float64 // sessions that may begin
	refilled time.Time

	stats Stats
}

// Stats counts since the beginning; restarts do not reset it.
type Stats struct {
	Mappings  uint64 // that were made
	Sessions  uint64 // that were made
	Refused   uint64 // outbound packets that needed a mapping or session beyond a limit
	Filtered  uint64 // inbound packets that nobody had asked for
	Hairpins  uint64 // packets between two hosts inside that were turned round
	NoHairpin uint64 // those that were not, because the NAT does not
}

// pause is the least time between two searches of a full table for room.
const pause = 10 * time.Millisecond

// A key is what makes an outbound packet use the same mapping as another.
type key struct{ inside, remote netip.AddrPort }

type mapping struct {
	key     key
	outside netip.AddrPort
	expires time.Time
	remotes map[netip.AddrPort]time.Time // who may send to it, until when
}

// New makes a translator with an outside address. c must be good; see [Config.Check].
func New(outside netip.Addr, c *Config) *NAT {
	n := &NAT{cfg: c.withDefaults(), addr: outside}
	n.clear()
	return n
}

// NewFirewall makes a stateful firewall: what c says of mapping, ports and hairpins means nothing.
func NewFirewall(c *Config) *NAT {
	n := &NAT{cfg: c.withDefaults(), firewall: true}
	n.cfg.Mapping, n.cfg.Hairpin = EndpointIndependent, false
	n.clear()
	return n
}

func (n *NAT) clear() {
	n.rng = rand.New(rand.NewPCG(n.cfg.Seed, n.boot))
	n.byInside = make(map[key]*mapping)
	n.byOutside = make(map[netip.AddrPort]*mapping)
	n.sessions = 0
	n.next = wrap(firstPort - lowest + n.boot*bootShift)
	n.arrival = time.Time{}
}

// Restart forgets everything, as a power cut would. Sequential and random ports are others than before.
func (n *NAT) Restart() {
	n.boot++
	n.clear()
}

// SetAddr restarts the NAT with another outside address.
func (n *NAT) SetAddr(outside netip.Addr) {
	n.addr = outside
	n.Restart()
}

// Stats returns the counters.
func (n *NAT) Stats() Stats { return n.stats }

// Len returns how many mappings and sessions the table holds at now.
func (n *NAT) Len(now time.Time) (mappings, sessions int) {
	n.expire(now)
	return len(n.byInside), n.sessions
}

// cut leaves of an endpoint what d depends on.
func (d Dependence) cut(a netip.AddrPort) netip.AddrPort {
	switch d {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(a.Addr(), 0)
	default:
		return a
	}
}

// Out judges a packet from an inside endpoint to a remote one. It returns the source that the outside sees, or false
// if the packet is dropped because a limit is reached.
func (n *NAT) Out(now time.Time, inside, remote netip.AddrPort) (outside netip.AddrPort, ok bool) {
	if now.Sub(n.swept) >= n.cfg.Lifetime {
		n.expire(now)
	}
	k, r := key{inside, n.cfg.Mapping.cut(remote)}, n.cfg.Filtering.cut(remote)
	m := n.byInside[k]
	if m != nil && now.After(m.expires) {
		n.remove(m)
		m = nil
	}
	if m == nil || !n.permits(now, m, r) {
		if m, ok = n.begin(now, k, m); !ok {
			n.stats.Refused++
			return netip.AddrPort{}, false
		}
		if _, again := m.remotes[r]; !again {
			n.sessions++
		}
		n.stats.Sessions++
	}
	m.expires = now.Add(n.cfg.Lifetime)
	m.remotes[r] = m.expires
	return m.outside, true
}

// begin makes room for a session, and for its mapping if that is nil.
func (n *NAT) begin(now time.Time, k key, m *mapping) (*mapping, bool) {
	if n.sessions >= n.cfg.MaxSessions || m == nil && len(n.byInside) >= n.cfg.MaxMappings {
		if now.Sub(n.swept) >= pause {
			n.expire(now) // m has not expired
		}
		if n.sessions >= n.cfg.MaxSessions || m == nil && len(n.byInside) >= n.cfg.MaxMappings {
			return nil, false
		}
	}
	if !n.admit(now) {
		return nil, false
	}
	if m != nil {
		return m, true
	}
	outside, ok := n.allocate(now, k.inside)
	if !ok {
		return nil, false
	}
	m = &mapping{key: k, outside: outside, remotes: make(map[netip.AddrPort]time.Time)}
	n.byInside[k], n.byOutside[outside] = m, m
	n.stats.Mappings++
	return m, true
}

// admit takes a token from the bucket of sessions that may begin.
func (n *NAT) admit(now time.Time) bool {
	rate := float64(n.cfg.NewPerSecond)
	if rate == 0 {
		return true
	}
	if n.refilled.IsZero() {
		n.tokens = rate
	} else {
		n.tokens = min(rate, n.tokens+rate*now.Sub(n.refilled).Seconds())
	}
	n.refilled = now
	if n.tokens < 1 {
		return false
	}
	n.tokens--
	return true
}

// In judges a packet from a remote endpoint to an outside one. It returns the destination inside, or false if nobody
// has asked for the packet.
func (n *NAT) In(now time.Time, remote, outside netip.AddrPort) (inside netip.AddrPort, ok bool) {
	m, r := n.byOutside[outside], n.cfg.Filtering.cut(remote)
	if m == nil || now.After(m.expires) || !n.permits(now, m, r) {
		n.stats.Filtered++
		return netip.AddrPort{}, false
	}
	if n.cfg.RefreshInbound {
		m.expires = now.Add(n.cfg.Lifetime)
		m.remotes[r] = m.expires
	}
	return m.key.inside, true
}

// Hairpin judges a packet that Out has let out and whose destination is the NAT's own address.
func (n *NAT) Hairpin(now time.Time, source, outside netip.AddrPort) (inside netip.AddrPort, ok bool) {
	if !n.cfg.Hairpin {
		n.stats.NoHairpin++
		return netip.AddrPort{}, false
	}
	if inside, ok = n.In(now, source, outside); ok {
		n.stats.Hairpins++
	}
	return inside, ok
}

func (n *NAT) permits(now time.Time, m *mapping, r netip.AddrPort) bool {
	until, ok := m.remotes[r]
	return ok && !now.After(until)
}

// expire removes what has expired.
func (n *NAT) expire(now time.Time) {
	n.swept = now
	for _, m := range n.byInside {
		if now.After(m.expires) {
			n.remove(m)
			continue
		}
		for r, until := range m.remotes {
			if now.After(until) {
				delete(m.remotes, r)
				n.sessions--
			}
		}
	}
}

func (n *NAT) remove(m *mapping) {
	delete(n.byInside, m.key)
	delete(n.byOutside, m.outside)
	n.sessions -= len(m.remotes)
}
