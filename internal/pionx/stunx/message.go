// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package stunx

import (
	"encoding/binary"
	"iter"
)

// HeaderSize is the length of a STUN header in bytes (RFC 8489 §5).
const HeaderSize = 20

// Cookie is the fixed value in bytes 4–7 of every message (RFC 8489 §5).
const Cookie uint32 = 0x2112A442

// Class is the class of a message (RFC 8489 §5).
type Class uint8

// The four classes.
const (
	Request Class = iota
	Indication
	Success
	Failure
)

// Method is the method of a message.
type Method uint16

// Methods of STUN (RFC 8489 §18.2) and TURN (RFC 8656 §17).
const (
	Binding          Method = 0x001
	Allocate         Method = 0x003
	Refresh          Method = 0x004
	Send             Method = 0x006
	Data             Method = 0x007
	CreatePermission Method = 0x008
	ChannelBind      Method = 0x009
)

// Attr is an attribute type.
type Attr uint16

// Attributes known to this package (RFC 8489 §18.3, RFC 8656 §18, RFC 8445 §16.1). Values below 0x8000 must be
// understood by the receiver.
const (
	MappedAddress          Attr = 0x0001
	UsernameAttr           Attr = 0x0006
	MessageIntegrity       Attr = 0x0008
	ErrorCode              Attr = 0x0009
	UnknownAttributes      Attr = 0x000A
	ChannelNumber          Attr = 0x000C
	Lifetime               Attr = 0x000D
	XORPeerAddress         Attr = 0x0012
	DataAttr               Attr = 0x0013
	Realm                  Attr = 0x0014
	Nonce                  Attr = 0x0015
	XORRelayedAddress      Attr = 0x0016
	RequestedAddressFamily Attr = 0x0017
	EvenPort               Attr = 0x0018
	RequestedTransport     Attr = 0x0019
	DontFragment           Attr = 0x001A
	MessageIntegritySHA256 Attr = 0x001C
	XORMappedAddress       Attr = 0x0020
	ReservationToken       Attr = 0x0022
	legacyXORMappedAddress Attr = 0x8020 // of drafts before RFC 5389; the library reads it as XOR-MAPPED-ADDRESS
	AlternateServer        Attr = 0x8023
	Fingerprint            Attr = 0x8028
	ResponseOrigin         Attr = 0x802B
	OtherAddress           Attr = 0x802C
)

// IsMessage reports whether b looks like STUN: a full header, the two leading zero bits and the cookie. It says
// nothing about the rest; see [Sane].
func IsMessage(b []byte) bool {
	return len(b) >= HeaderSize && b[0]&0xC0 == 0 && binary.BigEndian.Uint32(b[4:]) == Cookie
}

// Type splits the message type of b, which must hold a header (RFC 8489 §5, figure 3).
func Type(b []byte) (Method, Class) {
	t := binary.BigEndian.Uint16(b)
	m := t&0x000F | t>>1&0x0070 | t>>2&0x0F80
	return Method(m), Class(t>>4&1 | t>>7&2)
}

func typeBits(m Method, c Class) uint16 {
	u, k := uint16(m), uint16(c)
	return u&0x000F | u&0x0070<<1 | u&0x0F80<<2 | k&1<<4 | k&2<<7
}

// TransactionID returns the transaction ID of b, or zero when b holds no header.
func TransactionID(b []byte) (tx [12]byte) {
	if len(b) >= HeaderSize {
		copy(tx[:], b[8:HeaderSize])
	}
	return tx
}

// IsRequest reports whether b is a STUN request.
func IsRequest(b []byte) bool {
	if !IsMessage(b) {
		return false
	}
	_, c := Type(b)
	return c == Request
}

// IsResponse reports whether b is a STUN success or error response.
func IsResponse(b []byte) bool {
	if !IsMessage(b) {
		return false
	}
	_, c := Type(b)
	return c >= Success
}

// Attributes iterates over the attributes of b in order. The values alias b. A truncated attribute ends the
// iteration, so that it is safe on any input; a caller that must know about it asks [Sane] first.
func Attributes(b []byte) iter.Seq2[Attr, []byte] {
	return func(yield func(Attr, []byte) bool) {
		for off := HeaderSize; off+4 <= len(b); {
			n := int(binary.BigEndian.Uint16(b[off+2:]))
			end := off + 4 + n
			if end > len(b) || !yield(Attr(binary.BigEndian.Uint16(b[off:])), b[off+4:end:end]) {
				return
			}
			off = off + 4 + pad4(n)
		}
	}
}

// Get returns the first attribute of type t. The value aliases b.
func Get(b []byte, t Attr) ([]byte, bool) {
	for a, v := range Attributes(b) {
		if a == t {
			return v, true
		}
	}
	return nil, false
}

// Username returns the USERNAME of b, which is how a connectivity check names its ICE agent (RFC 8445 §7.2.2).
func Username(b []byte) (string, bool) {
	v, ok := Get(b, UsernameAttr)
	return string(v), ok
}

// ErrorOf returns the code of an error response, or 0 when there is none (RFC 8489 §14.8).
func ErrorOf(b []byte) int {
	v, ok := Get(b, ErrorCode)
	if !ok || len(v) < 4 {
		return 0
	}
	return int(v[2]&7)*100 + int(v[3])
}

func pad4(n int) int { return (n + 3) &^ 3 }
