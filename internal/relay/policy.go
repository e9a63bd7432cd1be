// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
)

// A Reason says why a peer address is refused. The empty reason is consent. There are few, so that they can be labels
// of a metric.
type Reason string

// Reasons.
const (
	Allowed       Reason = ""
	Unspecified   Reason = "unspecified"   // 0.0.0.0/8 and ::, which many systems treat as themselves
	Loopback      Reason = "loopback"      //
	Private       Reason = "private"       // RFC 1918, RFC 4193, RFC 6598, site-local
	LinkLocal     Reason = "link-local"    // with the metadata services of most clouds
	Metadata      Reason = "metadata"      // metadata services at addresses that look public
	Multicast     Reason = "multicast"     //
	Reserved      Reason = "reserved"      // not on the Internet: protocol assignments, benchmarks, future use
	Documentation Reason = "documentation" //
	Translation   Reason = "translation"   // NAT64 inside somebody's network (RFC 8215)
	Host          Reason = "host"          // this machine
	BadPort       Reason = "port"          // this relay, but not a relayed address
	BadFamily     Reason = "family"        // an IPv6 peer of an IPv4 relay
)

type rule struct {
	prefix netip.Prefix
	reason Reason
}

// denied lists what no stranger may reach through a relay (RFC 6890 and its registries, and what clouds hide behind
// addresses of their own). Addresses that embed an IPv4 address are not in it: they are judged by what they embed.
var denied = []rule{
	{netip.MustParsePrefix("0.0.0.0/8"), Unspecified},
	{netip.MustParsePrefix("10.0.0.0/8"), Private},
	{netip.MustParsePrefix("100.64.0.0/10"), Private},
	{netip.MustParsePrefix("127.0.0.0/8"), Loopback},
	{netip.MustParsePrefix("168.63.129.16/32"), Metadata}, // Azure
	{netip.MustParsePrefix("169.254.0.0/16"), LinkLocal},
	{netip.MustParsePrefix("172.16.0.0/12"), Private},
	{netip.MustParsePrefix("192.0.0.0/24"), Reserved}, // Oracle's metadata service lives here
	{netip.MustParsePrefix("192.0.2.0/24"), Documentation},
	{netip.MustParsePrefix("192.88.99.0/24"), Reserved},
	{netip.MustParsePrefix("192.168.0.0/16"), Private},
	{netip.MustParsePrefix("198.18.0.0/15"), Reserved},
	{netip.MustParsePrefix("198.51.100.0/24"), Documentation},
	{netip.MustParsePrefix("203.0.113.0/24"), Documentation},
	{netip.MustParsePrefix("224.0.0.0/4"), Multicast},
	{netip.MustParsePrefix("240.0.0.0/4"), Reserved}, // with 255.255.255.255

	{netip.MustParsePrefix("::/128"), Unspecified},
	{netip.MustParsePrefix("::1/128"), Loopback},
	{netip.MustParsePrefix("64:ff9b:1::/48"), Translation},
	{netip.MustParsePrefix("100::/64"), Reserved},
	{netip.MustParsePrefix("2001::/23"), Reserved},
	{netip.MustParsePrefix("2001:db8::/32"), Documentation},
	{netip.MustParsePrefix("3fff::/20"), Documentation},
	{netip.MustParsePrefix("5f00::/16"), Reserved},
	{netip.MustParsePrefix("fc00::/7"), Private}, // with fd00:ec2::254
	{netip.MustParsePrefix("fe80::/10"), LinkLocal},
	{netip.MustParsePrefix("fec0::/10"), Private},
	{netip.MustParsePrefix("ff00::/8"), Multicast},
}

// Policy decides which peers a client may reach. It is a value: the verdict depends on nothing else. The zero Policy
// is the default list.
type Policy struct {
	// Allow opens parts of the default list by name. Denial wins unless the allowed prefix is as narrow as the denied
	// one or narrower: 10.1.0.0/16 opens a part of 10.0.0.0/8; 0.0.0.0/0 opens nothing.
	Allow []netip.Prefix
	// Hosts are the addresses of this machine, each denied as if listed as a single address: only naming it exactly
	// allows it. Loopback addresses are left to the list.
	Hosts []netip.Addr
	// Relay is the address that relayed addresses have. It may always be reached, whatever it is, because two clients
	// of one relay talk that way; which of its ports is for [Server] to say.
	Relay netip.Addr
}

// Check judges an address, in whatever way it is written: an address that embeds an IPv4 address gets the verdict of
// the embedded one.
func (p *Policy) Check(addr netip.Addr) Reason {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return Unspecified
	}
	if addr.Is4() {
		return p.check(addr)
	}
	inner, own := embedded(addr)
	for _, a := range inner {
		if r := p.check(a); r != Allowed {
			return r
		}
	}
	if own || len(inner) == 0 {
		return p.check(addr)
	}
	return Allowed
}

func (p *Policy) check(addr netip.Addr) Reason {
	if addr == p.Relay {
		return Allowed
	}
	reason, bits := Allowed, -1
	for i := range denied {
		if r := &denied[i]; r.prefix.Bits() > bits && r.prefix.Contains(addr) {
			reason, bits = r.reason, r.prefix.Bits()
		}
	}
	for _, h := range p.Hosts {
		if h == addr && !h.IsLoopback() {
			reason, bits = Host, addr.BitLen()
		}
	}
	if bits < 0 {
		return Allowed
	}
	for _, a := range p.Allow {
		if a.Bits() >= bits && a.Contains(addr) {
			return Allowed
		}
	}
	return reason
}
