// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// granularity is the finest time the loss timers work with. RFC 9002 §6.1.2.
const granularity = time.Millisecond

// An rtt estimates the round-trip time of a path. RFC 9002 §5.
type rtt struct {
	latest    time.Duration
	min       time.Duration
	smoothed  time.Duration
	variation time.Duration
	first     time.Time // when the first sample was taken; zero: none yet
}

func newRTT(initial time.Duration) rtt { return rtt{smoothed: initial, variation: initial / 2} }

// update takes a sample. ackDelay is what the peer says it held the acknowledgement back.
func (r *rtt) update(now time.Time, sample, ackDelay time.Duration) {
	sample = max(sample, time.Microsecond)
	r.latest = sample
	if r.first.IsZero() {
		r.first = now
		r.min, r.smoothed, r.variation = sample, sample, sample/2
		return
	}
	r.min = min(r.min, sample)
	// "MUST NOT subtract the acknowledgment delay from the RTT sample if the resulting value is smaller than the
	// min_rtt." RFC 9002 §5.3.
	if sample-ackDelay >= r.min {
		sample -= ackDelay
	}
	r.variation = (3*r.variation + (r.smoothed - sample).Abs()) / 4
	r.smoothed = (7*r.smoothed + sample) / 8
}

// pto returns the probe timeout without back-off. RFC 9002 §6.2.1.
func (r *rtt) pto(maxAckDelay time.Duration) time.Duration {
	return r.smoothed + max(4*r.variation, granularity) + maxAckDelay
}

// lossDelay returns how much later than an acknowledged packet an earlier one may arrive before it counts as lost.
// RFC 9002 §6.1.2.
func (r *rtt) lossDelay() time.Duration {
	return max(max(r.smoothed, r.latest)*9/8, granularity)
}
