// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// A ChunkType says what a chunk is. A receiver closes the session over an unknown type below 0x80 and skips an unknown
// type from 0x80 on.
type ChunkType uint8

// Chunk types. docs/PROTOCOL.md describes each.
const (
	ChunkPadding       ChunkType = 0x00 // one byte, no length
	ChunkPing          ChunkType = 0x01
	ChunkAck           ChunkType = 0x02
	ChunkIdentity      ChunkType = 0x03
	ChunkPathChallenge ChunkType = 0x04
	ChunkPathResponse  ChunkType = 0x05
	ChunkClose         ChunkType = 0x06
	ChunkCloseAck      ChunkType = 0x07
	ChunkAckECN        ChunkType = 0x08 // ACK, with counts of ECN marks before it
	ChunkYield         ChunkType = 0x09 // leave room: the sender is receiving time-critical data from somebody else
	ChunkAddresses     ChunkType = 0x0a // where the sender may be reached from now on
	ChunkPunch         ChunkType = 0x0b // meeting directly in spite of hard NATs

	// ChunkFlowFirst to ChunkFlowLast belong to the flow protocol.
	ChunkFlowFirst ChunkType = 0x10
	ChunkFlowLast  ChunkType = 0x3f

	// ChunkElective is the first type that a receiver skips when it does not know it.
	ChunkElective ChunkType = 0x80
)

// AckEliciting reports whether a packet containing such a chunk asks for an acknowledgement. Challenges, responses,
// punches and closes do not: each has an answer of its own, or is one.
func (t ChunkType) AckEliciting() bool {
	switch t {
	case ChunkPadding, ChunkAck, ChunkAckECN, ChunkPathChallenge, ChunkPathResponse, ChunkClose, ChunkCloseAck, ChunkPunch:
		return false
	}
	return true
}

// IsFlow reports whether the type belongs to the flow protocol. Acknowledgements do not, though package flow handles
// them.
func (t ChunkType) IsFlow() bool { return t >= ChunkFlowFirst && t <= ChunkFlowLast }

// IsAck reports whether the chunk is an acknowledgement.
func (t ChunkType) IsAck() bool { return t == ChunkAck || t == ChunkAckECN }

// Elective reports whether a receiver that does not know the type skips the chunk.
func (t ChunkType) Elective() bool { return t >= ChunkElective }

// String returns the name docs/PROTOCOL.md uses.
func (t ChunkType) String() string {
	switch t {
	case ChunkPadding:
		return "PADDING"
	case ChunkPing:
		return "PING"
	case ChunkAck:
		return "ACK"
	case ChunkIdentity:
		return "IDENTITY"
	case ChunkPathChallenge:
		return "PATH_CHALLENGE"
	case ChunkPathResponse:
		return "PATH_RESPONSE"
	case ChunkClose:
		return "CLOSE"
	case ChunkCloseAck:
		return "CLOSE_ACK"
	case ChunkAckECN:
		return "ACK_ECN"
	case ChunkYield:
		return "YIELD"
	case ChunkAddresses:
		return "ADDRESSES"
	case ChunkPunch:
		return "PUNCH"
	}
	return flowChunkName(t)
}

// NextChunk returns the first chunk of b, skipping padding, and what follows it. When only padding is left it returns
// ChunkPadding with an empty rest. body and rest alias b.
func NextChunk(b []byte) (t ChunkType, body, rest []byte, err error) {
	for len(b) > 0 && b[0] == byte(ChunkPadding) {
		b = b[1:]
	}
	if len(b) == 0 {
		return ChunkPadding, nil, nil, nil
	}
	t = ChunkType(b[0])
	n, vn := ReadVarint(b[1:])
	if vn == 0 {
		return t, nil, nil, fmt.Errorf("%w: chunk length", ErrTruncated)
	}
	b = b[1+vn:]
	if n > uint64(len(b)) {
		return t, nil, nil, fmt.Errorf("%w: chunk body", ErrTruncated)
	}
	return t, b[:n:n], b[n:], nil
}

// AppendChunk appends a chunk of type t. For ChunkPadding, which has no length, it appends a single byte.
func AppendChunk(b []byte, t ChunkType, body []byte) []byte {
	b = append(b, byte(t))
	if t == ChunkPadding {
		return b
	}
	b = AppendVarint(b, uint64(len(body)))
	return append(b, body...)
}

// ChunkSize returns the encoded length of a chunk whose body has bodyLen bytes.
func ChunkSize(bodyLen int) int { return 1 + VarintLen(uint64(bodyLen)) + bodyLen }
