// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx

import "encoding/binary"

// MaxAttributes is the largest number of attributes in a message that [Sane] lets through. A CreatePermission for
// many peers is the longest message with a purpose.
const MaxAttributes = 40

// Sane reports whether b is one complete STUN message that is safe to hand to a parser:
//
//   - two zero bits, the magic cookie, and a length field that is a multiple of four and equals len(b)-20;
//   - at most [MaxAttributes] attributes that fill the message exactly;
//   - XOR-*-ADDRESS values of exactly 8 bytes (IPv4) or 20 bytes (IPv6) with the matching family, address values of
//     the same sizes, MESSAGE-INTEGRITY of 20 bytes and FINGERPRINT of 4;
//   - at most one integrity attribute and one FINGERPRINT, and nothing after integrity but FINGERPRINT, and nothing
//     after FINGERPRINT (RFC 8489 §§14.5–14.7).
//
// It is pure, allocates nothing and never panics.
func Sane(b []byte) bool {
	if !IsMessage(b) || int(binary.BigEndian.Uint16(b[2:])) != len(b)-HeaderSize || len(b)&3 != 0 {
		return false
	}
	const open, protected, closed = 0, 1, 2
	state := open
	count := 0
	for off := HeaderSize; off < len(b); {
		// The message length is a multiple of four, so is every step: four bytes are there.
		t := Attr(binary.BigEndian.Uint16(b[off:]))
		n := int(binary.BigEndian.Uint16(b[off+2:]))
		off += 4
		if pad4(n) > len(b)-off {
			return false
		}
		v := b[off : off+n]
		off += pad4(n)
		if count++; count > MaxAttributes {
			return false
		}
		if state == closed || state == protected && t != Fingerprint {
			return false
		}
		switch t {
		case XORMappedAddress, legacyXORMappedAddress, XORPeerAddress, XORRelayedAddress:
			if !saneAddr(v, true) {
				return false
			}
		case MappedAddress, AlternateServer, ResponseOrigin, OtherAddress:
			if !saneAddr(v, false) {
				return false
			}
		case MessageIntegrity:
			if n != 20 {
				return false
			}
			state = protected
		case MessageIntegritySHA256:
			if n < 16 || n > 32 || n&3 != 0 { // RFC 8489 §14.6
				return false
			}
			state = protected
		case Fingerprint:
			if n != 4 {
				return false
			}
			state = closed
		}
	}
	return true
}

// saneAddr judges an address value (RFC 8489 §14.1). The first byte must be ignored by receivers, but a parser that
// reads it together with the family chokes on anything but zero, hence strict.
func saneAddr(v []byte, strict bool) bool {
	if len(v) < 2 || strict && v[0] != 0 {
		return false
	}
	switch v[1] {
	case 1:
		return len(v) == 8
	case 2:
		return len(v) == 20
	}
	return false
}
