// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"time"
)

// An AckRange is a half-open range of packet numbers: Start is in it, End is not.
type AckRange struct{ Start, End uint64 }

// An Ack is the body of an ACK chunk: the packet numbers received, and how long the largest has waited.
//
//	+----------------+---------------+--------------------+ +-------------+-------------+
//	| largest varint | delay µs, vi. | first range varint | | gap varint  | range varint| ...
//	+----------------+---------------+--------------------+ +-------------+-------------+
//
// As in RFC 9000 §19.3.1, the first range field counts the packets below the largest that were also received; then,
// walking down, each gap field is one less than the number of missing packets and each range field one less than the
// number of received packets below them. The pairs run to the end of the body.
//
// ACK_ECN has three integers before that: the counts of packets received, ever, by mark, as in RFC 9000 §19.3.2.
type Ack struct {
	Delay  time.Duration // since the largest packet arrived; microseconds on the wire
	Ranges []AckRange    // descending, disjoint, non-adjacent; the caller's to reuse
	HasECN bool          // ACK_ECN
	ECN    ECNCounts     // if HasECN
}

// ECNCounts counts received packets by the mark they carried. RFC 9000 §19.3.2.
type ECNCounts struct{ ECT0, ECT1, CE uint64 }

// An ECN is the mark of a packet: the lowest two bits of the traffic class. RFC 3168 §5.
type ECN uint8

// Marks.
const (
	NotECT ECN = 0
	ECT1   ECN = 1
	ECT0   ECN = 2
	CE     ECN = 3
)

// Largest returns the largest packet number acknowledged. There must be at least one range.
func (a *Ack) Largest() uint64 { return a.Ranges[0].End - 1 }

// AppendAck appends a as a whole chunk if at least its first range fits; the result is no longer than limit. Older
// ranges that do not fit, or exceed [MaxAckRanges], are left out. If nothing fits, b is returned unchanged and ok is
// false. a must have at least one range.
func AppendAck(b []byte, a *Ack, limit int) (_ []byte, ok bool) {
	first := a.Ranges[0]
	delay := uint64(max(a.Delay, 0) / time.Microsecond)
	size := VarintLen(first.End-1) + VarintLen(delay) + VarintLen(first.End-1-first.Start)
	if a.HasECN {
		size += VarintLen(a.ECN.ECT0) + VarintLen(a.ECN.ECT1) + VarintLen(a.ECN.CE)
	}
	if len(b)+ChunkSize(size) > limit {
		return b, false
	}
	n := 1
	for ; n < len(a.Ranges) && n < MaxAckRanges; n++ {
		gap, length := ackPair(a.Ranges[n-1], a.Ranges[n])
		more := VarintLen(gap) + VarintLen(length)
		if len(b)+ChunkSize(size+more) > limit {
			break
		}
		size += more
	}
	if a.HasECN {
		b = append(b, byte(ChunkAckECN))
		b = AppendVarint(b, uint64(size))
		b = AppendVarint(b, a.ECN.ECT0)
		b = AppendVarint(b, a.ECN.ECT1)
		b = AppendVarint(b, a.ECN.CE)
	} else {
		b = append(b, byte(ChunkAck))
		b = AppendVarint(b, uint64(size))
	}
	b = AppendVarint(b, first.End-1)
	b = AppendVarint(b, delay)
	b = AppendVarint(b, first.End-1-first.Start)
	for i := 1; i < n; i++ {
		gap, length := ackPair(a.Ranges[i-1], a.Ranges[i])
		b = AppendVarint(b, gap)
		b = AppendVarint(b, length)
	}
	return b, true
}

// ackPair returns the gap and range fields for r, which follows prev.
func ackPair(prev, r AckRange) (gap, length uint64) {
	return prev.Start - r.End - 1, r.End - r.Start - 1
}

// Parse parses the body of an ACK or ACK_ECN chunk into a, reusing a.Ranges. On error a's contents are unspecified.
func (a *Ack) Parse(t ChunkType, body []byte) error {
	a.HasECN, a.ECN = t == ChunkAckECN, ECNCounts{}
	if a.HasECN {
		for _, p := range [...]*uint64{&a.ECN.ECT0, &a.ECN.ECT1, &a.ECN.CE} {
			v, n := ReadVarint(body)
			if n == 0 {
				return fmt.Errorf("%w: ecn counts", ErrTruncated)
			}
			*p, body = v, body[n:]
		}
	}
	var f [3]uint64
	for i := range f {
		v, n := ReadVarint(body)
		if n == 0 {
			return fmt.Errorf("%w: ack", ErrTruncated)
		}
		f[i], body = v, body[n:]
	}
	largest, delay, length := f[0], f[1], f[2]
	if length > largest {
		return fmt.Errorf("%w: ack range below zero", ErrMalformed)
	}
	const maxDelay = uint64(time.Hour / time.Microsecond) // keeps the product below from overflowing
	a.Delay = time.Duration(min(delay, maxDelay)) * time.Microsecond
	a.Ranges = append(a.Ranges[:0], AckRange{largest - length, largest + 1})
	for len(body) > 0 {
		gap, n := ReadVarint(body)
		if n == 0 {
			return fmt.Errorf("%w: ack gap", ErrTruncated)
		}
		body = body[n:]
		length, n := ReadVarint(body)
		if n == 0 {
			return fmt.Errorf("%w: ack range", ErrTruncated)
		}
		body = body[n:]
		// The largest of this range is gap+2 below the smallest of the previous one. RFC 9000 §19.3.1.
		smallest := a.Ranges[len(a.Ranges)-1].Start
		if smallest < gap+2 || smallest-gap-2 < length {
			return fmt.Errorf("%w: ack range below zero", ErrMalformed)
		}
		if len(a.Ranges) == MaxAckRanges {
			return fmt.Errorf("%w: more than %d ack ranges", ErrMalformed, MaxAckRanges)
		}
		end := smallest - gap - 1
		a.Ranges = append(a.Ranges, AckRange{end - 1 - length, end})
	}
	return nil
}
