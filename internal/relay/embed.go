// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"net/netip"
)

var (
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291 §2.5.5.1, deprecated
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765: ::ffff:0:a.b.c.d
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380
	one        = netip.MustParseAddr("::1")
)

// embedded returns the IPv4 addresses that an IPv6 address carries inside, which is where packets to it may come out:
// coturn had two CVEs and three rounds of fixes for filters that forgot one of these forms. own reports whether the
// address must be judged by itself as well. IPv4-mapped addresses are the caller's business.
func embedded(addr netip.Addr) (inner []netip.Addr, own bool) {
	b := addr.As16()
	v4 := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	switch {
	case compatible.Contains(addr):
		// :: and ::1 have rules of their own, and 0.0.0.0 and 0.0.0.1 are just as forbidden.
		if addr == one || addr.IsUnspecified() {
			return nil, true
		}
		return []netip.Addr{v4(12)}, false
	case translated.Contains(addr), nat64.Contains(addr):
		return []netip.Addr{v4(12)}, false
	case sixToFour.Contains(addr):
		return []netip.Addr{v4(2)}, false
	case teredo.Contains(addr):
		// Server, and the client's address with every bit inverted (RFC 4380 §4).
		client := [4]byte(b[12:16])
		binary.BigEndian.PutUint32(client[:], ^binary.BigEndian.Uint32(client[:]))
		return []netip.Addr{v4(4), netip.AddrFrom4(client)}, false
	}
	// ISATAP (RFC 5214 §6.1) puts the address behind an interface identifier of any prefix.
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		return []netip.Addr{v4(12)}, true
	}
	return nil, true
}
