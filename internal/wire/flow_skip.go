// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// FlowSkip is a FLOW_SKIP chunk: consecutive messages of a flow, unless they are complete at the receiver, are
// abandoned. For each of them it says how much credit the message has used: zero if nothing of it was ever sent.
//
//	+-------------+----------------------+-------------+-------------+
//	| flow varint | first message varint | used varint | used varint | ...   to the chunk's end, at least one
//	+-------------+----------------------+-------------+-------------+
type FlowSkip struct {
	Flow  uint64
	First uint64
	used  []byte // encoded
}

// AppendFlowSkip appends a chunk for the messages from first on, as many as the result, no longer than limit, has room
// for, and returns how many those are. used must not be empty.
func AppendFlowSkip(b []byte, flow, first uint64, used []uint64, limit int) (_ []byte, n int) {
	size := VarintLen(flow) + VarintLen(first)
	for _, u := range used {
		more := VarintLen(u)
		if len(b)+ChunkSize(size+more) > limit {
			break
		}
		size += more
		n++
	}
	if n == 0 {
		return b, 0
	}
	b = append(b, byte(ChunkFlowSkip))
	b = AppendVarint(b, uint64(size))
	b = AppendVarint(b, flow)
	b = AppendVarint(b, first)
	for _, u := range used[:n] {
		b = AppendVarint(b, u)
	}
	return b, n
}

// ParseFlowSkip parses the body of a FLOW_SKIP chunk. The result aliases body.
func ParseFlowSkip(body []byte) (FlowSkip, error) {
	var s FlowSkip
	var n int
	if s.Flow, n = ReadVarint(body); n == 0 {
		return s, ErrTruncated
	}
	body = body[n:]
	if s.First, n = ReadVarint(body); n == 0 {
		return s, ErrTruncated
	}
	s.used = body[n:]
	if len(s.used) == 0 {
		return s, fmt.Errorf("%w: skip of no message", ErrMalformed)
	}
	for rest := s.used; len(rest) > 0; rest = rest[n:] {
		if _, n = ReadVarint(rest); n == 0 {
			return s, fmt.Errorf("%w: skip", ErrTruncated)
		}
	}
	return s, nil
}

// Next returns the next message skipped and the credit it has used. ok is false after the last.
func (s *FlowSkip) Next() (seq, used uint64, ok bool) {
	used, n := ReadVarint(s.used)
	if n == 0 {
		return 0, 0, false
	}
	s.used = s.used[n:]
	s.First++
	return s.First - 1, used, true
}
