// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// Flow option types. A receiver rejects a flow that carries a type below FlowOptionElective it does not know, and
// ignores one from FlowOptionElective on.
const (
	// FlowOptionAnswers (value: flow varint) names the flow of the receiver that this one answers.
	FlowOptionAnswers = 0x00

	// FlowOptionStream (no value) says that the flow is one half of a byte stream: message boundaries mean nothing.
	FlowOptionStream = 0x01

	// FlowOptionElective is the first type that may be ignored.
	FlowOptionElective = 0x20

	// FlowOptionArrival (no value) says that messages may be handed over in the order in which they are complete.
	FlowOptionArrival = 0x20

	// FlowOptionPriority (value: one byte, 0 to 7, 0 most urgent) is the sender's priority of the flow.
	FlowOptionPriority = 0x21
)

// FlowOpen is a FLOW_OPEN chunk: what the receiver must know of a flow before its first message. It precedes every
// other chunk of the flow in every packet until one such packet has been acknowledged.
//
//	+-------------+----------------------+-------------------------+---------
//	| flow varint | label length varint, | metadata length varint, | options
//	|             | label, UTF-8 ≤ 128 B | metadata ≤ 512 B        | ...
//	+-------------+----------------------+-------------------------+---------
//	each option: | type varint | length varint | value |
type FlowOpen struct {
	Flow     uint64
	Label    []byte
	Metadata []byte

	HasAnswers bool
	Answers    uint64 // the receiver's flow that this one answers, if HasAnswers
	Stream     bool   // the flow is one half of a byte stream
	Arrival    bool   // messages may be handed over as soon as they are complete

	HasPriority bool
	Priority    uint8 // if HasPriority: 0 to 7, 0 most urgent

	UnknownCritical bool // parsing only: there is a critical option this version does not know
}

// bodySize returns the encoded length of the body.
func (o *FlowOpen) bodySize() int {
	n := VarintLen(o.Flow) + VarintLen(uint64(len(o.Label))) + len(o.Label) +
		VarintLen(uint64(len(o.Metadata))) + len(o.Metadata)
	if o.HasAnswers {
		n += 2 + VarintLen(o.Answers)
	}
	if o.Stream {
		n += 2
	}
	if o.Arrival {
		n += 2
	}
	if o.HasPriority {
		n += 3
	}
	return n
}

// Size returns the encoded length of the chunk.
func (o *FlowOpen) Size() int { return ChunkSize(o.bodySize()) }

// Append appends the chunk. Label and metadata must be within their limits.
func (o *FlowOpen) Append(b []byte) []byte {
	b = append(b, byte(ChunkFlowOpen))
	b = AppendVarint(b, uint64(o.bodySize()))
	b = AppendVarint(b, o.Flow)
	b = AppendVarint(b, uint64(len(o.Label)))
	b = append(b, o.Label...)
	b = AppendVarint(b, uint64(len(o.Metadata)))
	b = append(b, o.Metadata...)
	if o.HasAnswers {
		b = append(b, FlowOptionAnswers, byte(VarintLen(o.Answers)))
		b = AppendVarint(b, o.Answers)
	}
	if o.Stream {
		b = append(b, FlowOptionStream, 0)
	}
	if o.Arrival {
		b = append(b, FlowOptionArrival, 0)
	}
	if o.HasPriority {
		b = append(b, FlowOptionPriority, 1, o.Priority)
	}
	return b
}

// readBytes reads a length and that many bytes.
func readBytes(b []byte, limit int) (v, rest []byte, err error) {
	n, vn := ReadVarint(b)
	if vn == 0 {
		return nil, nil, ErrTruncated
	}
	b = b[vn:]
	if n > uint64(len(b)) {
		return nil, nil, ErrTruncated
	}
	if n > uint64(limit) {
		return nil, nil, fmt.Errorf("%w: %d bytes where at most %d may be", ErrMalformed, n, limit)
	}
	return b[:n:n], b[n:], nil
}

// ParseFlowOpen parses the body of a FLOW_OPEN chunk. Label and Metadata alias body.
func ParseFlowOpen(body []byte) (FlowOpen, error) {
	var o FlowOpen
	if len(body) > MaxOpenInfo {
		return o, fmt.Errorf("%w: opening of %d bytes", ErrMalformed, len(body))
	}
	var n int
	if o.Flow, n = ReadVarint(body); n == 0 {
		return o, ErrTruncated
	}
	body = body[n:]
	var err error
	if o.Label, body, err = readBytes(body, MaxLabel); err != nil {
		return o, fmt.Errorf("label: %w", err)
	}
	if o.Metadata, body, err = readBytes(body, MaxMetadata); err != nil {
		return o, fmt.Errorf("metadata: %w", err)
	}
	for len(body) > 0 {
		typ, n := ReadVarint(body)
		if n == 0 {
			return o, ErrTruncated
		}
		var v []byte
		if v, body, err = readBytes(body[n:], MaxOpenInfo); err != nil {
			return o, fmt.Errorf("option: %w", err)
		}
		switch {
		case typ == FlowOptionAnswers:
			if o.HasAnswers {
				return o, fmt.Errorf("%w: two answers options", ErrMalformed)
			}
			if err := ParseInts(v, &o.Answers); err != nil {
				return o, fmt.Errorf("answers option: %w", err)
			}
			o.HasAnswers = true
		case typ == FlowOptionStream:
			if o.Stream || len(v) != 0 {
				return o, fmt.Errorf("%w: stream option", ErrMalformed)
			}
			o.Stream = true
		case typ == FlowOptionArrival:
			if o.Arrival || len(v) != 0 {
				return o, fmt.Errorf("%w: arrival option", ErrMalformed)
			}
			o.Arrival = true
		case typ == FlowOptionPriority:
			if o.HasPriority || len(v) != 1 || v[0] > MaxPriority {
				return o, fmt.Errorf("%w: priority option", ErrMalformed)
			}
			o.HasPriority, o.Priority = true, v[0]
		case typ < FlowOptionElective:
			o.UnknownCritical = true
		}
	}
	return o, nil
}
