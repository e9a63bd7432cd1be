// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// First bytes of Runnel datagrams. All are in 192–255, which RFC 9443 leaves free beside STUN, DTLS, TURN and RTP.
const (
	FirstProtected = 0xc0 // to 0xdf: a protected packet, 0b110k00nn
	FirstHandshake = 0xe0 // a DTLS handshake datagram for a session
	FirstInit      = 0xe1 // dialling a known address: the first message
	FirstRetry     = 0xe2 // prove your address first
	FirstOpen      = 0xe3 // a sealed offer
	FirstAnswer    = 0xe4 // a sealed answer
)

const (
	protectedMask = 0xe0 // selects the bits that make a first byte FirstProtected
	keyPhaseBit   = 0x10
	reservedBits  = 0x0c
	pnLenBits     = 0x03
)

// A SessionID names a session at the receiver of a packet, who chose it. Addresses do not name sessions.
type SessionID uint64

// String returns the ID in hexadecimal, as logs and captures show it.
func (id SessionID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// SessionIDLen is the encoded length of a SessionID in bytes.
const SessionIDLen = 8

// MaxHeaderLen is the length of the longest protected header, in bytes.
const MaxHeaderLen = 1 + SessionIDLen + 4

// A Header is the part of a protected packet outside the encryption. It is covered by it as associated data.
//
//	 0                   1
//	 0 1 2 3 4 5 6 7 8 9 0 ...
//	+-----+-+---+---+---------------+-------------------+
//	|1 1 0|k|0 0|n n| session ID(8) | packet number 1-4 |
//	+-----+-+---+---+---------------+-------------------+
type Header struct {
	SID      SessionID
	KeyPhase bool
	PN       uint64 // truncated; see DecodePN
	PNLen    int    // length of the truncated packet number in bytes, 1 to 4
	Len      int    // length of the header in bytes
}

// ParseHeader parses the header at the start of a protected packet.
func ParseHeader(b []byte) (Header, error) {
	if len(b) == 0 {
		return Header{}, ErrTruncated
	}
	if b[0]&protectedMask != FirstProtected || b[0]&reservedBits != 0 {
		return Header{}, ErrMalformed
	}
	h := Header{KeyPhase: b[0]&keyPhaseBit != 0, PNLen: int(b[0]&pnLenBits) + 1}
	h.Len = 1 + SessionIDLen + h.PNLen
	if len(b) < h.Len {
		return Header{}, ErrTruncated
	}
	h.SID = SessionID(binary.BigEndian.Uint64(b[1:]))
	for _, c := range b[1+SessionIDLen : h.Len] {
		h.PN = h.PN<<8 | uint64(c)
	}
	return h, nil
}

// AppendHeader appends the header of packet pn for the session the receiver knows as sid. largestAcked is the largest
// packet number the receiver has acknowledged, or -1; it decides how many bytes of pn must be sent.
func AppendHeader(b []byte, sid SessionID, keyPhase bool, pn uint64, largestAcked int64) []byte {
	n := pnLen(pn, largestAcked)
	first := byte(FirstProtected | (n - 1))
	if keyPhase {
		first |= keyPhaseBit
	}
	b = append(b, first)
	b = binary.BigEndian.AppendUint64(b, uint64(sid))
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(pn>>(8*i)))
	}
	return b
}

// minPNLen is the least length of a packet number that is sent. With one byte, a packet that is sent while little is
// unacknowledged and then overtaken by 128 others, which at full speed takes a fraction of a millisecond, could not be
// opened; with two it takes more than the replay window holds.
const minPNLen = 2

// pnLen returns how many bytes of pn make it unambiguous. RFC 9000 §17.1 and §A.2.
func pnLen(pn uint64, largestAcked int64) int {
	// "The sender MUST use a packet number size able to represent more than twice as large a range as the
	// difference between the largest acknowledged packet number and the packet number being sent."
	unacked := pn + 1
	if largestAcked >= 0 && uint64(largestAcked) < pn {
		unacked = pn - uint64(largestAcked)
	}
	return min(max(bits.Len64(unacked)/8+1, minPNLen), 4)
}

// DecodePN returns the full packet number for the truncated one of a header. largest is the largest packet number
// received so far, or -1. RFC 9000 §A.3.
func DecodePN(largest int64, truncated uint64, pnLen int) uint64 {
	expected := uint64(largest + 1)
	win := uint64(1) << (8 * pnLen)
	candidate := expected&^(win-1) | truncated
	switch {
	case candidate+win/2 <= expected && candidate < 1<<62-win:
		return candidate + win
	case candidate > expected+win/2 && candidate >= win:
		return candidate - win
	}
	return candidate
}

// PeekSessionID returns the session ID of a protected or handshake packet without checking anything else.
func PeekSessionID(b []byte) (SessionID, bool) {
	if len(b) < 1+SessionIDLen {
		return 0, false
	}
	if b[0]&protectedMask != FirstProtected && b[0] != FirstHandshake {
		return 0, false
	}
	return SessionID(binary.BigEndian.Uint64(b[1:])), true
}
