// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// newlyAcked is what an acknowledgement says that was not known.
type newlyAcked[T any] struct {
	newest    *packet[T] // nil: nothing
	newestPN  uint64
	counted   *packet[T] // the newest that was in flight on this path
	eliciting bool       // any asked for it
	marked    int        // packets of this path sent with a mark
}

// HandleAck handles an acknowledgement. The error is a [*wire.ProtocolError]. RFC 9002 §A.7.
func (t *Tracker[T]) HandleAck(now time.Time, a *wire.Ack) error {
	largest := a.Largest()
	if largest >= t.next || t.skipped.in(a) {
		// "Receipt of an acknowledgment for a packet that was not sent". RFC 9000 §13.1.
		return &wire.ProtocolError{Code: wire.CodeAck, Reason: "ack of a packet that was not sent"}
	}
	i := t.clock(now)
	p := &t.path
	grew := int64(largest) > t.largestAcked
	if grew {
		t.largestAcked = int64(largest)
	}
	// RFC 9002 §7.8: "the congestion window SHOULD NOT be increased" while it is not used.
	t.ack = congestion.Ack{Limited: p.limited && 2*p.inFlight >= p.cc.Window(), PriorInFlight: p.inFlight}
	var n newlyAcked[T]
	t.walk(a, &n)
	if t.lost.n > 0 {
		t.handleLate(a)
	}
	if n.newest == nil {
		return nil
	}
	onPath := n.newestPN >= p.start
	// A sample is taken "when the largest acknowledged packet number is newly acknowledged, and at least one of the
	// newly acknowledged packets was ack-eliciting". RFC 9002 §5.1.
	if n.newestPN == largest && n.eliciting && onPath && n.newest.at >= p.awake {
		t.ack.RTT = p.rtt.update(i, i-n.newest.at, min(a.Delay, wire.MaxAckDelay))
	}
	if grew && onPath {
		t.ack.CE = p.ecn.ack(a, n.marked)
		t.stats.CE += uint64(t.ack.CE)
	}
	if n.counted != nil {
		t.ack.Rate = p.rate.ack(i, n.counted.at, &n.counted.rate, t.ack.Bytes, n.counted.flags&flagAppLimited != 0, p.rtt.min())
		p.earn(t.ack.Bytes)
	}
	t.detect()
	if t.ack.Packets > 0 || t.ack.CE > 0 {
		t.ack.Largest, t.ack.SentAt = n.newestPN, t.time(n.newest.at)
		if n.counted != nil && n.counted != n.newest {
			t.ack.SentAt = t.time(n.counted.at)
		}
		t.ack.InFlight, t.ack.MinRTT, t.ack.SmoothedRTT = p.inFlight, p.rtt.min(), p.rtt.smoothed
		p.cc.HandleAck(now, &t.ack)
		p.observe()
		if f := t.config.Trace.Acked; f != nil {
			f(now, &t.ack)
		}
	}
	t.backoff, t.probes = 0, 0
	t.trim()
	return nil
}

// walk settles the packets newly acknowledged, newest first.
func (t *Tracker[T]) walk(a *wire.Ack, n *newlyAcked[T]) {
	for _, r := range a.Ranges {
		i := t.sent.find(r.End)
		if i == 0 {
			return
		}
		for i--; i >= 0; i-- {
			s := t.sent.at(i)
			if s.pn < r.Start {
				break
			}
			if s.state == slotInFlight {
				t.acked(s, n)
			}
		}
	}
}

// acked settles a packet that arrived.
func (t *Tracker[T]) acked(s *packet[T], n *newlyAcked[T]) {
	p, pn := &t.path, s.pn
	s.state = slotAcked
	if n.newest == nil {
		n.newest, n.newestPN = s, pn
	}
	onPath := pn >= p.start
	if onPath && s.flags&flagMarked != 0 {
		n.marked++
	}
	switch {
	case s.flags&flagMTUProbe != 0:
		n.eliciting = true
		if p.mtu.flying && p.mtu.pn == pn && p.mtu.probeAcked(int(s.size)) {
			p.setMTU()
		}
	case s.flags&flagEliciting != 0:
		n.eliciting = true
		t.eliciting--
		if onPath {
			t.fates[0]++
			size := int(s.size)
			p.inFlight -= size
			if p.mtu.acked(t.now, pn, size) {
				p.setMTU()
			}
			t.ack.Bytes += size
			t.ack.Packets++
			if n.counted == nil {
				n.counted = s
			}
		}
	}
	if t.fate != nil && len(s.items) > 0 {
		t.fate(pn, s.items, Acked)
	}
	t.release(s)
}
