// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import "time"

// HyStart++'s constants. RFC 9406 §4.3.
const (
	hyMinThresh     = 4 * time.Millisecond
	hyMaxThresh     = 16 * time.Millisecond
	hyDivisor       = 8
	hySamples       = 8
	hyGrowthDivisor = 4
	hyRounds        = 5
)

// hyStart ends slow start when round trips become longer. RFC 9406.
type hyStart struct {
	roundEnd     uint64 // the round ends with the acknowledgement of this packet
	started      bool
	samples      int
	current      time.Duration // least round trip of this round
	last         time.Duration // and of the one before
	conservative int           // rounds of conservative slow start left; zero: plain slow start
	baseline     time.Duration
}

// handleAck is told of an acknowledgement; next is the number of the packet sent next. It returns by what to divide the
// growth, and whether slow start is over.
func (h *hyStart) handleAck(a *Ack, next uint64) (divisor int, done bool) {
	if !h.started || a.Largest >= h.roundEnd {
		if h.started && h.conservative > 0 {
			if h.conservative--; h.conservative == 0 {
				return 1, true
			}
		}
		h.started = true
		h.roundEnd = next
		h.last, h.current, h.samples = h.current, 0, 0
	}
	if a.RTT > 0 {
		h.samples++
		if h.current == 0 || a.RTT < h.current {
			h.current = a.RTT
		}
	}
	if h.samples >= hySamples && h.last > 0 {
		if h.conservative == 0 {
			if h.current >= h.last+min(max(h.last/hyDivisor, hyMinThresh), hyMaxThresh) {
				h.baseline, h.conservative = h.current, hyRounds
			}
		} else if h.current < h.baseline {
			h.conservative = 0 // the delay was no queue
		}
	}
	if h.conservative > 0 {
		return hyGrowthDivisor, false
	}
	return 1, false
}
