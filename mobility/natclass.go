// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"net/netip"
	"slices"
)

// A Mapping says whether a NAT shows one socket to everybody under the same address. RFC 4787 §4.1.
type Mapping uint8

const (
	MappingUnknown     Mapping = iota // too few STUN servers have answered to tell
	MappingIndependent                // of whom the socket sends to, or there is no NAT
	MappingDependent                  // a new port for each destination
	MappingBlocked                    // no STUN server answers: UDP does not pass
)

// String returns words for logs and people.
func (m Mapping) String() string {
	switch m {
	case MappingUnknown:
		return "unknown"
	case MappingIndependent:
		return "endpoint-independent"
	case MappingDependent:
		return "address-dependent"
	case MappingBlocked:
		return "udp blocked"
	}
	return fmt.Sprintf("Mapping(%d)", uint8(m))
}

// A PortRule says by what rule a NAT chooses the ports of its mappings. RFC 4787 §4.2.
type PortRule uint8

const (
	PortsUnknown    PortRule = iota
	PortsPreserved           // the port that the socket has itself
	PortsSequential          // each a fixed step from the last
	PortsParity              // any port that is odd or even as the socket's is
	PortsRandom              // any port
)

// String returns words for logs and people.
func (r PortRule) String() string {
	switch r {
	case PortsUnknown:
		return "unknown"
	case PortsPreserved:
		return "preserved"
	case PortsSequential:
		return "sequential"
	case PortsParity:
		return "random with parity"
	case PortsRandom:
		return "random"
	}
	return fmt.Sprintf("PortRule(%d)", uint8(r))
}

// A NATClass is what is known of the NAT in front of an endpoint.
type NATClass struct {
	Mapping Mapping
	Ports   PortRule
	Step    int // of PortsSequential; negative if ports go down
}

// String returns words for logs and people, such as "address-dependent, ports sequential by 2".
func (c NATClass) String() string {
	s := c.Mapping.String()
	if c.Ports != PortsUnknown {
		s += ", ports " + c.Ports.String()
	}
	if c.Ports == PortsSequential {
		s += fmt.Sprintf(" by %+d", c.Step)
	}
	return s
}

// ClassifyMapping says what the answers of different STUN servers to one socket tell. local says whether an address is
// the host's own, where there is no NAT then; it may be nil.
func ClassifyMapping(answers map[netip.AddrPort]netip.AddrPort, local func(netip.Addr) bool) Mapping {
	first := make(map[bool]netip.AddrPort) // by family
	asked := make(map[bool]int)
	for _, a := range answers {
		v6 := a.Addr().Is6()
		asked[v6]++
		if f, ok := first[v6]; ok && f != a {
			return MappingDependent
		}
		first[v6] = a
		if !v6 && local != nil && local(a.Addr()) {
			return MappingIndependent
		}
	}
	if asked[false] > 1 || asked[false] == 0 && asked[true] > 0 {
		return MappingIndependent // networks that carry IPv6 do not translate it
	}
	return MappingUnknown
}

// A PortSample is how one of several sockets looked from outside.
type PortSample struct{ Local, Mapped uint16 }

const (
	minSamples = 3
	maxStep    = 256 // between two samples; others use the NAT at the same time
)

// ClassifyPorts says by what rule the ports of samples were chosen, which were taken of fresh sockets one right after
// the other, in this order.
func ClassifyPorts(samples []PortSample) (rule PortRule, step int) {
	if len(samples) < minSamples {
		return PortsUnknown, 0
	}
	preserved, parity := true, true
	ups, downs, gcd := 0, 0, 0
	for i, s := range samples {
		preserved = preserved && s.Local == s.Mapped
		parity = parity && s.Local&1 == s.Mapped&1
		if i == 0 {
			continue
		}
		d := int(s.Mapped) - int(samples[i-1].Mapped)
		if d == 0 || d > maxStep || d < -maxStep {
			continue // it started again from the other end of its range, if this is the only one
		}
		if d > 0 {
			ups++
		} else {
			downs++
			d = -d
		}
		for gcd, d = d, gcd; d != 0; {
			gcd, d = d, gcd%d
		}
	}
	steps := len(samples) - 1
	switch {
	case preserved:
		return PortsPreserved, 0
	case ups >= steps-1 && ups >= 2 && downs == 0:
		return PortsSequential, gcd
	case downs >= steps-1 && downs >= 2 && ups == 0:
		return PortsSequential, -gcd
	case parity && len(samples) >= 6:
		return PortsParity, 0
	}
	return PortsRandom, 0
}

// portRange guesses from samples in which of the ranges in common use a NAT's ports lie. A guess that is too narrow
// costs nothing: as many of the ports that somebody searches for are in it as elsewhere.
func portRange(samples []PortSample) (low, high uint16) {
	low, high = 1024, 65535
	if len(samples) < minSamples {
		return low, high
	}
	least := slices.MinFunc(samples, func(a, b PortSample) int { return int(a.Mapped) - int(b.Mapped) }).Mapped
	most := slices.MaxFunc(samples, func(a, b PortSample) int { return int(a.Mapped) - int(b.Mapped) }).Mapped
	switch {
	case least >= 49152:
		return 49152, high // RFC 6335 §6
	case least >= 32768 && most <= 60999:
		return 32768, 60999 // Linux
	case least >= 32768:
		return 32768, high
	}
	return min(low, least), high
}
