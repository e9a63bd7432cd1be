// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

const (
	// steadyPackets must arrive in order before acknowledgements become rarer than one for every second packet.
	steadyPackets = 100

	// maxAckEvery bounds how many packets one acknowledgement may be put off for.
	maxAckEvery = 16

	// acksPerRTT is how many acknowledgements the sender gets in a round trip at least, however rare they are: a
	// window moves in that many steps at least.
	acksPerRTT = 32

	// ackDelayPart is the part of a round trip for which an acknowledgement may be put off.
	ackDelayPart = 4

	// minAckDelay is the least time an acknowledgement is put off; timers are no finer. More (5 and 25 ms were tried)
	// saves no processor time that can be measured, even with 40000 round trips a second, and lone messages are known
	// to have arrived that much later.
	minAckDelay = time.Millisecond

	// rideAlong is how many acknowledgements in a row must have gone along with data before they are trusted to. Then
	// they are put off for as long as is permitted, until one has to be sent alone: a timer that is set with every
	// packet and never needed costs as much as the packet.
	rideAlong = 4

	// maxAlone is how many acknowledgements may be sent before the peer is asked to acknowledge one.
	maxAlone = 16
)

// Acks knows which packets have arrived and when that must be said. The zero value is ready.
type Acks struct {
	seen      rangeset.Set // packet numbers the peer does not know we know of, and the largest
	next      uint64       // number following the largest received
	largestAt time.Time    // when the largest arrived
	waiting   int          // ack-eliciting packets received since the last acknowledgement
	due       time.Time    // when an acknowledgement must be sent; zero: none is owed
	every     int          // ack-eliciting packets that make one due
	inOrder   int          // packets since one was out of order
	alone     int          // acknowledgements sent since the last ack-eliciting packet
	along     int          // acknowledgements in a row that went along with something else
	ack       wire.Ack     // scratch, and what marks have been seen

	// The rate at which packets arrive.
	epoch       time.Time // when counting began
	count, last int       // packets since then, and in the epoch before

	sent uint64 // acknowledgements, ever
}

// Received records an authentic, not replayed packet that arrived with a mark. rtt is the round-trip time of the path,
// or zero while it has not been measured: then nothing is put off for long, so that the peer's first measurement is a
// good one.
func (a *Acks) Received(now time.Time, pn uint64, eliciting bool, mark wire.ECN, rtt time.Duration) {
	a.seen.Add(pn, pn+1)
	if len(a.seen) > wire.MaxAckRanges {
		// "A receiver SHOULD [...] limit the number of ACK Ranges". RFC 9000 §13.2.3. The oldest have been reported
		// most often.
		a.seen = append(a.seen[:0], a.seen[1:]...)
	}
	disorder := pn != a.next
	if pn >= a.next {
		a.next, a.largestAt = pn+1, now
	}
	if mark != wire.NotECT {
		a.countMark(mark)
	}
	if disorder {
		a.inOrder, a.every = 0, wire.AckEvery
	} else {
		a.inOrder++
	}
	if !eliciting {
		return
	}
	a.measure(now, rtt)
	a.waiting++
	// "In order to assist loss detection at the sender, an endpoint SHOULD generate and send an ACK frame without
	// delay when it receives an ack-eliciting packet either: when the received packet has a packet number less than
	// another ack-eliciting packet that has been received, or when the packet has a packet number larger than the
	// highest-numbered ack-eliciting packet that has been received and there are missing packets between that packet
	// and this packet. Similarly, packets marked with the ECN Congestion Experienced (CE) codepoint [...] SHOULD be
	// acknowledged immediately". RFC 9000 §13.2.1.
	if disorder || mark == wire.CE || a.waiting >= max(a.every, wire.AckEvery) {
		if a.due.IsZero() || now.Before(a.due) {
			a.due = now
		}
	} else if a.due.IsZero() {
		delay := wire.MaxAckDelay
		if a.along < rideAlong || rtt == 0 {
			delay = min(max(rtt/ackDelayPart, minAckDelay), wire.MaxAckDelay)
		}
		a.due = now.Add(delay)
	}
}

func (a *Acks) countMark(mark wire.ECN) {
	switch mark {
	case wire.ECT0:
		a.ack.ECN.ECT0++
	case wire.ECT1:
		a.ack.ECN.ECT1++
	case wire.CE:
		a.ack.ECN.CE++
	}
	a.ack.HasECN = true
}

// measure counts packets per round trip and decides how rare acknowledgements may be. A sender whose window grows, or
// is small, gets one for every second packet.
func (a *Acks) measure(now time.Time, rtt time.Duration) {
	a.count++
	span, took := max(rtt, minAckDelay), now.Sub(a.epoch)
	if took < span {
		return
	}
	a.every = wire.AckEvery
	if a.inOrder >= steadyPackets && took < 2*span && a.count <= a.last+a.last/2 {
		a.every = min(max(a.count/acksPerRTT, wire.AckEvery), maxAckEvery)
	}
	a.last, a.count, a.epoch = a.count, 0, now
}

// Pending reports whether there is anything new to say.
func (a *Acks) Pending() bool { return a.waiting > 0 }

// IsDue reports whether an acknowledgement must be sent now.
func (a *Acks) IsDue(now time.Time) bool { return !a.due.IsZero() && !a.due.After(now) }

// NextTimeout returns when an acknowledgement must be sent; zero: none is owed.
func (a *Acks) NextTimeout() time.Time { return a.due }

// Append appends an ACK or ACK_ECN chunk if one fits. Something must have been received.
func (a *Acks) Append(now time.Time, b []byte, limit int) (_ []byte, ok bool) {
	a.ack.Ranges = a.ack.Ranges[:0]
	for _, v := range slices.Backward(a.seen) {
		a.ack.Ranges = append(a.ack.Ranges, wire.AckRange(v))
	}
	a.ack.Delay = now.Sub(a.largestAt)
	return wire.AppendAck(b, &a.ack, limit)
}

// Largest returns the largest number received. There must be one.
func (a *Acks) Largest() uint64 { return a.next - 1 }

// Sent records that what is pending has been sent. alone says that the packet holds nothing that asks for an
// acknowledgement.
func (a *Acks) Sent(alone bool) {
	a.waiting, a.due = 0, time.Time{}
	a.sent++
	a.alone++
	a.along++
	if alone {
		a.along = 0
	} else {
		a.alone = 0
	}
}

// WantPing reports whether an acknowledgement that would be sent alone had better ask for one itself. A peer that only
// receives acknowledgements never acknowledges them, and we would have to repeat old ranges for ever. RFC 9000 §13.2.4.
func (a *Acks) WantPing() bool { return a.alone >= maxAlone-1 && len(a.seen) > 4 }

// Known records that the peer has received an acknowledgement up to largest. RFC 9000 §13.2.4.
func (a *Acks) Known(largest uint64) { a.seen.Remove(0, largest) }

// Count returns how many acknowledgements have been sent.
func (a *Acks) Count() uint64 { return a.sent }

// Ranges returns how many ranges the next acknowledgement has.
func (a *Acks) Ranges() int { return len(a.seen) }
