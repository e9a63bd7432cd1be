// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx

import (
	"encoding/binary"
	"net/netip"
)

// XORAddr decodes the value of an XOR-*-ADDRESS attribute of the message with the given transaction ID (RFC 8489
// §14.2). An IPv4-mapped IPv6 address is returned as it stands: policy must see what the sender wrote.
func XORAddr(v []byte, tx [12]byte) (netip.AddrPort, bool) {
	if !saneAddr(v, true) {
		return netip.AddrPort{}, false
	}
	port := binary.BigEndian.Uint16(v[2:]) ^ uint16(Cookie>>16)
	if v[1] == 1 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(v[4:])^Cookie)
		return netip.AddrPortFrom(netip.AddrFrom4(a), port), true
	}
	var a [16]byte
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(v[4:])^Cookie)
	for i, t := range tx {
		a[4+i] = v[8+i] ^ t
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a), port), true
}

// appendXORAddr appends the value of an XOR-*-ADDRESS attribute. Any zone is dropped, IPv4-mapped addresses are kept
// in their 16-byte form.
func appendXORAddr(b []byte, ap netip.AddrPort, tx []byte) []byte {
	family := byte(2)
	if ap.Addr().Is4() {
		family = 1
	}
	b = append(b, 0, family)
	b = binary.BigEndian.AppendUint16(b, ap.Port()^uint16(Cookie>>16))
	at := len(b)
	if family == 1 {
		a := ap.Addr().As4()
		b = append(b, a[:]...)
	} else {
		a := ap.Addr().As16()
		b = append(b, a[:]...)
		for i, t := range tx {
			b[at+4+i] ^= t
		}
	}
	binary.BigEndian.PutUint32(b[at:], binary.BigEndian.Uint32(b[at:])^Cookie)
	return b
}
