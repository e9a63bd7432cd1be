// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// Chunk types of the flow protocol. Flow IDs in chunks of the first group belong to the sender of the chunk, in those
// of the second to its receiver.
const (
	// ChunkFlowData to ChunkFlowData+7: bit 0 says that the message ends here, bit 1 that an offset follows, bit 2 that
	// the message goes on in the next one.
	ChunkFlowData       ChunkType = 0x10
	ChunkFlowOpen       ChunkType = 0x18
	ChunkFlowEnd        ChunkType = 0x19
	ChunkFlowAbort      ChunkType = 0x1a
	ChunkFlowBlocked    ChunkType = 0x1c
	ChunkSessionBlocked ChunkType = 0x1d
	ChunkFlowSkip       ChunkType = 0x1e

	ChunkFlowReject    ChunkType = 0x20
	ChunkFlowWindow    ChunkType = 0x21
	ChunkSessionLimits ChunkType = 0x22
)

const (
	flowDataEnd    ChunkType = 0x01
	flowDataOffset ChunkType = 0x02
	flowDataMore   ChunkType = 0x04
	flowDataLast             = ChunkFlowData | flowDataEnd | flowDataOffset | flowDataMore
)

// IsFlowData reports whether t is one of the data chunks.
func (t ChunkType) IsFlowData() bool { return t >= ChunkFlowData && t <= flowDataLast }

// flowChunkName names the chunk types of the flow protocol.
func flowChunkName(t ChunkType) string {
	switch t {
	case ChunkFlowOpen:
		return "FLOW_OPEN"
	case ChunkFlowEnd:
		return "FLOW_END"
	case ChunkFlowAbort:
		return "FLOW_ABORT"
	case ChunkFlowSkip:
		return "FLOW_SKIP"
	case ChunkFlowBlocked:
		return "FLOW_BLOCKED"
	case ChunkSessionBlocked:
		return "SESSION_BLOCKED"
	case ChunkFlowReject:
		return "FLOW_REJECT"
	case ChunkFlowWindow:
		return "FLOW_WINDOW"
	case ChunkSessionLimits:
		return "SESSION_LIMITS"
	}
	if t.IsFlowData() {
		return "FLOW_DATA"
	}
	return fmt.Sprintf("chunk %#02x", uint8(t))
}

// The chunks below consist of integers only.
//
//	FLOW_END        | flow | messages | used  |   no message from number messages on; used credit in all
//	FLOW_ABORT      | flow | code     | used  |   nothing more will be sent; used credit in all
//	FLOW_BLOCKED    | flow | limit |              the sender has data but no credit beyond limit
//	SESSION_BLOCKED | limit |
//	FLOW_REJECT     | flow | code |
//	FLOW_WINDOW     | flow | limit |              credit for the flow, counted from its beginning
//	SESSION_LIMITS  | window | flows | message |  credit for all flows together; flows that may ever be opened;
//	                                              the largest message taken

// AppendInts appends a chunk whose body is a sequence of integers.
func AppendInts(b []byte, t ChunkType, v ...uint64) []byte {
	size := 0
	for _, x := range v {
		size += VarintLen(x)
	}
	b = append(b, byte(t))
	b = AppendVarint(b, uint64(size))
	for _, x := range v {
		b = AppendVarint(b, x)
	}
	return b
}

// IntsSize returns the length of the chunk AppendInts makes.
func IntsSize(v ...uint64) int {
	size := 0
	for _, x := range v {
		size += VarintLen(x)
	}
	return ChunkSize(size)
}

// ParseInts parses a body that consists of exactly len(v) integers.
func ParseInts(body []byte, v ...*uint64) error {
	for _, p := range v {
		x, n := ReadVarint(body)
		if n == 0 {
			return ErrTruncated
		}
		*p, body = x, body[n:]
	}
	if len(body) != 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(body))
	}
	return nil
}
