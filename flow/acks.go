// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// An ackState knows which packets have arrived and when that must be said.
type ackState struct {
	seen      rangeset.Set // packet numbers the peer does not know we know of, and the largest
	largest   int64        // largest packet number received, or -1
	largestAt time.Time    // when it arrived
	eliciting int          // ack-eliciting packets received since the last acknowledgement
	due       time.Time    // when an acknowledgement must be sent; zero: none is owed
	ack       wire.Ack     // scratch
}

// received records an authentic, not replayed packet.
func (a *ackState) received(now time.Time, pn uint64, eliciting bool, ecn wire.ECN) {
	switch ecn {
	case wire.ECT0:
		a.ack.ECN.ECT0++
	case wire.ECT1:
		a.ack.ECN.ECT1++
	case wire.CE:
		a.ack.ECN.CE++
	}
	a.ack.HasECN = a.ack.ECN != wire.ECNCounts{}
	largest := a.largest
	a.seen.Add(pn, pn+1)
	if len(a.seen) > wire.MaxAckRanges {
		// "A receiver SHOULD [...] limit the number of ACK Ranges". RFC 9000 §13.2.3. The oldest have been reported
		// most often.
		a.seen = append(a.seen[:0], a.seen[1:]...)
	}
	if int64(pn) > largest {
		a.largest, a.largestAt = int64(pn), now
	}
	if !eliciting {
		return
	}
	a.eliciting++
	due := now.Add(wire.MaxAckDelay)
	// "In order to assist loss detection at the sender, an endpoint SHOULD generate and send an ACK frame without
	// delay when it receives an ack-eliciting packet either: when the received packet has a packet number less than
	// another ack-eliciting packet that has been received, or when the packet has a packet number larger than the
	// highest-numbered ack-eliciting packet that has been received and there are missing packets between that packet
	// and this packet." RFC 9000 §13.2.1.
	if a.eliciting >= wire.AckEvery || int64(pn) != largest+1 || ecn == wire.CE {
		due = now
	}
	if a.due.IsZero() || due.Before(a.due) {
		a.due = due
	}
}

// pending reports whether there is anything new to say.
func (a *ackState) pending() bool { return a.eliciting > 0 }

// isDue reports whether an acknowledgement must be sent now.
func (a *ackState) isDue(now time.Time) bool { return !a.due.IsZero() && !a.due.After(now) }

// append appends an ACK chunk if one fits.
func (a *ackState) append(now time.Time, b []byte, limit int) (_ []byte, ok bool) {
	a.ack.Ranges = a.ack.Ranges[:0]
	for _, v := range slices.Backward(a.seen) {
		a.ack.Ranges = append(a.ack.Ranges, wire.AckRange(v))
	}
	a.ack.Delay = now.Sub(a.largestAt)
	return wire.AppendAck(b, &a.ack, limit)
}

// sent records that what is pending has been sent.
func (a *ackState) sent() { a.eliciting, a.due = 0, time.Time{} }

// acked records that the peer has received an acknowledgement up to largest. RFC 9000 §13.2.4.
func (a *ackState) acked(largest uint64) { a.seen.Remove(0, largest) }
