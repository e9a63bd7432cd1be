// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
)

// A rateState measures the rate of delivery. draft-ietf-ccwg-bbr §4.1.
type rateState struct {
	delivered   uint64  // bytes, ever
	deliveredAt instant // when that last grew, or the first packet after silence was sent
	firstSent   instant // when the first packet of the present interval was sent
	lost        uint64  // bytes, ever
	appLimited  uint64  // packets sent before this much is delivered saw too little to send; zero: none
}

// A sendSample is what a packet remembers of the rateState when it was sent.
type sendSample struct {
	delivered              uint64
	deliveredAt, firstSent instant
	lost                   uint64
}

// sent returns what a packet sent now has to remember.
func (r *rateState) sent(now instant, inFlight int) sendSample {
	if inFlight == 0 {
		r.firstSent, r.deliveredAt = now, now
	}
	return sendSample{r.delivered, r.deliveredAt, r.firstSent, r.lost}
}

// idle notes that there is nothing to send.
func (r *rateState) idle(inFlight int) { r.appLimited = max(r.delivered+uint64(inFlight), 1) }

// ack makes a sample after the delivery of bytes. newest is what the newest packet of them remembers and at when it was
// sent.
func (r *rateState) ack(now, at instant, newest *sendSample, bytes int, appLimited bool, minRTT time.Duration) congestion.RateSample {
	r.delivered += uint64(bytes)
	r.deliveredAt = now
	if r.appLimited != 0 && r.delivered > r.appLimited {
		r.appLimited = 0
	}
	// The longer of both, so that neither a burst sent nor acknowledgements that arrive together look like a rate.
	interval := max(at-newest.firstSent, now-newest.deliveredAt)
	r.firstSent = at
	s := congestion.RateSample{
		Prior: newest.delivered, Total: r.delivered, Lost: int(r.lost - newest.lost), AppLimited: appLimited,
	}
	// An interval shorter than a round trip cannot be right.
	if interval > 0 && interval >= minRTT {
		s.Delivered, s.Interval = int(r.delivered-newest.delivered), interval
	}
	return s
}
