// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// An AddressKind says what an [Address] is.
type AddressKind uint8

// Kinds of addresses, RFC 8445 §5.1.1.
const (
	AddressHost      AddressKind = iota // of an interface of the host
	AddressReflexive                    // as a server sees the host
	AddressRelayed                      // of an allocation at a relay

	addressKinds
)

// An Address is where the sender of an ADDRESSES chunk may be reached. An IPv4 address is never in IPv4-mapped form.
type Address struct {
	Kind AddressKind
	Addr netip.AddrPort
}

// AppendAddresses appends an ADDRESSES chunk: all addresses of the sender. Of more than MaxAddresses the first are told,
// and none that is invalid or has a zone.
//
//	+------------+----------------------------------------------------------------+
//	| seq varint | kind(1) | family(1): 4 or 6 | address(4 or 16) | port(2) | … |
//	+------------+----------------------------------------------------------------+
func AppendAddresses(b []byte, seq uint64, list []Address) []byte {
	list = list[:min(len(list), MaxAddresses)]
	size := VarintLen(seq)
	for _, a := range list {
		size += addressSize(a.Addr)
	}
	b = append(b, byte(ChunkAddresses))
	b = AppendVarint(b, uint64(size))
	b = AppendVarint(b, seq)
	for _, a := range list {
		switch ip := a.Addr.Addr(); addressSize(a.Addr) {
		case 0:
			continue
		case 8:
			v := ip.As4()
			b = append(b, byte(a.Kind), 4)
			b = append(b, v[:]...)
		default:
			v := ip.As16()
			b = append(b, byte(a.Kind), 6)
			b = append(b, v[:]...)
		}
		b = binary.BigEndian.AppendUint16(b, a.Addr.Port())
	}
	return b
}

// addressSize is how long an entry is; zero if the address cannot be told.
func addressSize(a netip.AddrPort) int {
	switch ip := a.Addr(); {
	case !ip.IsValid() || ip.Zone() != "" || ip.Is4In6():
		return 0
	case ip.Is4():
		return 8
	}
	return 20
}

// ParseAddresses parses the body of an ADDRESSES chunk and appends the addresses to list. Kinds that it does not know are
// left out. Whether an address may be sent to is for the caller to say.
func ParseAddresses(list []Address, body []byte) (seq uint64, _ []Address, err error) {
	seq, n := ReadVarint(body)
	if n == 0 {
		return 0, list, fmt.Errorf("%w: sequence number of addresses", ErrTruncated)
	}
	count := 0
	for b := body[n:]; len(b) > 0; count++ {
		if count == MaxAddresses {
			return 0, list, fmt.Errorf("%w: more than %d addresses", ErrMalformed, MaxAddresses)
		}
		if len(b) < 2 {
			return 0, list, fmt.Errorf("%w: address", ErrTruncated)
		}
		size := 4
		switch b[1] {
		case 4:
		case 6:
			size = 16
		default:
			return 0, list, fmt.Errorf("%w: address family %d", ErrMalformed, b[1])
		}
		if len(b) < 2+size+2 {
			return 0, list, fmt.Errorf("%w: address", ErrTruncated)
		}
		ip, _ := netip.AddrFromSlice(b[2 : 2+size])
		port := binary.BigEndian.Uint16(b[2+size:])
		kind := AddressKind(b[0])
		b = b[2+size+2:]
		switch {
		case ip.Is4In6():
			return 0, list, fmt.Errorf("%w: IPv4-mapped address", ErrMalformed)
		case kind < addressKinds:
			list = append(list, Address{kind, netip.AddrPortFrom(ip, port)})
		}
	}
	return seq, list, nil
}
