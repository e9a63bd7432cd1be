// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import "fmt"

// A Class is the protocol a datagram belongs to, by its first byte (RFC 7983, RFC 9443).
type Class uint8

const (
	Unknown     Class = iota // empty, or none of the below; to be dropped
	STUN                     // 0–3
	DTLS                     // 20–63; never on the wire by itself here, to be dropped
	TURNChannel              // 64–79, TURN ChannelData
	RTP                      // 128–191, RTP and RTCP
	Runnel                   // 192–255, packets of this protocol
)

// String returns the class in lower case.
func (c Class) String() string {
	switch c {
	case Unknown:
		return "unknown"
	case STUN:
		return "stun"
	case DTLS:
		return "dtls"
	case TURNChannel:
		return "turn-channel"
	case RTP:
		return "rtp"
	case Runnel:
		return "runnel"
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Classify returns the class of a datagram. It looks at the first byte only; the datagram may still be garbage.
func Classify(b []byte) Class {
	if len(b) == 0 {
		return Unknown
	}
	switch c := b[0]; {
	case c <= 3:
		return STUN
	case 20 <= c && c <= 63:
		return DTLS
	case 64 <= c && c <= 79:
		return TURNChannel
	case 128 <= c && c <= 191:
		return RTP
	case c >= 192:
		return Runnel
	}
	return Unknown
}
