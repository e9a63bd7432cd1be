// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// FlowData is a FLOW_DATA chunk: a fragment of a message, cut anywhere. The type's low bits say whether the message
// ends with the fragment, whether the offset is present, which is left out when zero, and whether the message that ends
// is only a part and goes on in the next one.
//
//	type 0x10 | end 0x01 | offset 0x02 | more 0x04, with end only
//	+-------------+----------------+-----------------+---------------------------+
//	| flow varint | message varint | offset varint ? | data, to the chunk's end  |
//	+-------------+----------------+-----------------+---------------------------+
type FlowData struct {
	Flow   uint64
	Seq    uint64 // number of the message in its flow, from 0
	Offset uint64 // of the fragment in the message
	End    bool   // the message ends with this fragment
	More   bool   // if End: the message is a part of something longer, which goes on in the next message
	Data   []byte
}

// fields returns the encoded length of everything in the body but the data.
func (d *FlowData) fields() int {
	n := VarintLen(d.Flow) + VarintLen(d.Seq)
	if d.Offset > 0 {
		n += VarintLen(d.Offset)
	}
	return n
}

// Room returns how many bytes of data fit into a chunk of at most space bytes, or -1 if not even an empty one does.
func (d *FlowData) Room(space int) int {
	room := -1
	for _, l := range [...]struct{ size, max int }{{1, 1<<6 - 1}, {2, 1<<14 - 1}, {4, 1<<30 - 1}} {
		room = max(room, min(space-1-l.size, l.max)-d.fields())
	}
	return room
}

// Append appends the chunk.
func (d *FlowData) Append(b []byte) []byte {
	t := ChunkFlowData
	if d.End {
		t |= flowDataEnd
		if d.More {
			t |= flowDataMore
		}
	}
	if d.Offset > 0 {
		t |= flowDataOffset
	}
	b = append(b, byte(t))
	b = AppendVarint(b, uint64(d.fields()+len(d.Data)))
	b = AppendVarint(b, d.Flow)
	b = AppendVarint(b, d.Seq)
	if d.Offset > 0 {
		b = AppendVarint(b, d.Offset)
	}
	return append(b, d.Data...)
}

// ParseFlowData parses the body of a chunk for which [ChunkType.IsFlowData] is true. Data aliases body.
func ParseFlowData(t ChunkType, body []byte) (FlowData, error) {
	d := FlowData{End: t&flowDataEnd != 0, More: t&flowDataMore != 0}
	if d.More && !d.End {
		return d, fmt.Errorf("%w: part that does not end", ErrMalformed)
	}
	var n int
	if d.Flow, n = ReadVarint(body); n == 0 {
		return d, ErrTruncated
	}
	body = body[n:]
	if d.Seq, n = ReadVarint(body); n == 0 {
		return d, ErrTruncated
	}
	body = body[n:]
	if t&flowDataOffset != 0 {
		if d.Offset, n = ReadVarint(body); n == 0 {
			return d, ErrTruncated
		}
		body = body[n:]
	}
	d.Data = body
	// Nobody has a reason to send it, and it would make a receiver remember a message for free.
	if len(body) == 0 && !d.End {
		return d, fmt.Errorf("%w: empty fragment", ErrMalformed)
	}
	return d, nil
}
