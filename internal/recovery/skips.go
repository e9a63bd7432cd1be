// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import "github.com/seed-98f0d4c2/runnel/internal/wire"

// maxSkipped is how many gaps in the numbers of packets are remembered. A peer that acknowledges older ones only harms
// itself: what was in flight around them has long been settled.
const maxSkipped = 8

// skips are the latest gaps in the numbers of the packets sent, in ascending order. "An endpoint that acknowledges
// packets it has not received might cause a congestion controller to permit sending at rates beyond what the network
// supports. An endpoint MAY skip packet numbers when sending packets to detect this behavior." RFC 9000 §21.4.
type skips []wire.AckRange

func (s *skips) add(start, end uint64) {
	if len(*s) == maxSkipped {
		*s = append((*s)[:0], (*s)[1:]...)
	}
	*s = append(*s, wire.AckRange{Start: start, End: end})
}

// in reports whether an acknowledgement names a number that was skipped.
func (s skips) in(a *wire.Ack) bool {
	i := len(s) - 1
	for _, r := range a.Ranges {
		for ; i >= 0 && s[i].Start >= r.End; i-- {
		}
		if i < 0 {
			return false
		}
		if s[i].End > r.Start {
			return true
		}
	}
	return false
}
