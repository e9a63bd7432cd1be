// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

const (
	// granularity is the finest time the loss timers work with. RFC 9002 §6.1.2.
	granularity = time.Millisecond

	// maxRTT bounds round-trip times: whoever answers later than that does not answer.
	maxRTT = MaxPTO

	// minRTTWindow is for how long the least round-trip time counts.
	minRTTWindow = 10 * time.Second
)

// An rtt estimates the round-trip time of a path. RFC 9002 §5.
type rtt struct {
	latest    time.Duration
	smoothed  time.Duration
	variation time.Duration
	least     [3]rttSample // over the window: the least, the least after it, the least after that
	first     instant      // when the first sample was taken; zero: none yet
}

type rttSample struct {
	at  instant
	rtt time.Duration
}

func newRTT(initial time.Duration) rtt {
	initial = min(initial, maxRTT)
	return rtt{smoothed: initial, variation: initial / 2}
}

// min returns the least round-trip time of the last ten seconds, or zero if there was never one.
func (r *rtt) min() time.Duration { return r.least[0].rtt }

// update takes a sample and returns it with the delay at the peer taken off. ackDelay is what the peer says that delay
// was.
func (r *rtt) update(now instant, sample, ackDelay time.Duration) time.Duration {
	sample = min(max(sample, time.Microsecond), maxRTT)
	r.latest = sample
	if r.first == 0 {
		r.first = now
		r.setMin(now, sample)
		r.smoothed, r.variation = sample, sample/2
		return sample
	}
	// "MUST NOT subtract the acknowledgment delay from the RTT sample if the resulting value is smaller than the
	// min_rtt." RFC 9002 §5.3. But it is taken off down to that, and what is left keeps the least sample from being
	// forgotten: otherwise the delay of the acknowledgements of lone packets, which those that gave the least sample
	// did not meet, would look like a queue. What the peer says never makes the least less than what was measured.
	sample = max(sample-ackDelay, min(sample, r.min()))
	r.updateMin(now, sample)
	r.variation = (3*r.variation + (r.smoothed - sample).Abs()) / 4
	r.smoothed = (7*r.smoothed + sample) / 8
	return sample
}

// setMin begins a new window. RFC 9002 §5.2.
func (r *rtt) setMin(now instant, v time.Duration) {
	s := rttSample{now, v}
	r.least = [3]rttSample{s, s, s}
}

// updateMin keeps the least sample of a sliding window and two later candidates, in constant space: Kathleen Nichols'
// algorithm.
func (r *rtt) updateMin(now instant, v time.Duration) {
	s := rttSample{now, v}
	if v <= r.least[0].rtt || now-r.least[2].at > minRTTWindow {
		r.least = [3]rttSample{s, s, s}
		return
	}
	if v <= r.least[1].rtt {
		r.least[1], r.least[2] = s, s
	} else if v <= r.least[2].rtt {
		r.least[2] = s
	}
	switch age := now - r.least[0].at; {
	case age > minRTTWindow:
		r.least[0], r.least[1], r.least[2] = r.least[1], r.least[2], s
		if now-r.least[0].at > minRTTWindow {
			r.least[0], r.least[1] = r.least[1], r.least[2]
		}
	case r.least[1].at == r.least[0].at && age > minRTTWindow/4:
		r.least[1], r.least[2] = s, s
	case r.least[2].at == r.least[1].at && age > minRTTWindow/2:
		r.least[2] = s
	}
}

// pto returns the probe timeout without back-off. RFC 9002 §6.2.1.
func (r *rtt) pto() time.Duration {
	return r.smoothed + max(4*r.variation, granularity) + wire.MaxAckDelay
}

// reference is the round-trip time that the time threshold is a multiple of. RFC 9002 §6.1.2.
func (r *rtt) reference() time.Duration { return max(r.smoothed, r.latest) }
