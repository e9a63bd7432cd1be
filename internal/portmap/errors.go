// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"errors"
	"fmt"
	"net/netip"
)

// Why there is no mapping; see also [RefusedError] and [NotPublicError].
var (
	ErrNoGateway  = errors.New("portmap: no router on the way to the internet")
	ErrNotPrivate = errors.New("portmap: no router with a NAT is between this host and the internet")
	ErrSilent     = errors.New("portmap: the router speaks no protocol for port mappings")
)

// A RefusedError says that the router understood and refused.
type RefusedError struct {
	Protocol Protocol
	Code     int // the protocol's: RFC 6887 §7.4, RFC 6886 §3.5, or UPnP's error codes
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("portmap: the router refuses by %v with code %d", e.Protocol, e.Code)
}

// A NotPublicError says that the router is itself behind another NAT, so that a mapping there is of no use: its address
// outside is private, one of a provider's NAT (100.64.0.0/10), or none.
type NotPublicError struct{ External netip.Addr }

func (e *NotPublicError) Error() string {
	return fmt.Sprintf("portmap: the router's own address, %v, is not public", e.External)
}

// notPublic are prefixes of global unicast addresses that are not reached from the internet.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598
	netip.MustParsePrefix("192.0.0.0/24"),  // RFC 6333, DS-Lite
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

// public reports whether packets from the internet reach the address.
func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// behindNAT reports whether a host with this address needs a NAT to reach the internet.
func behindNAT(a netip.Addr) bool { return a.IsPrivate() || notPublic[1].Contains(a) }

// atHome reports whether a router has an address that only its own network knows.
func atHome(a netip.Addr) bool { return behindNAT(a) || a.IsLinkLocalUnicast() }
