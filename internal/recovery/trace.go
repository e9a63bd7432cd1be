// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
)

// A Trace has hooks that are told what becomes of packets. Any of them may be nil. They must not call the tracker.
type Trace struct {
	// Acked is told of an acknowledgement that says something new, after the losses it reveals. a is the tracker's.
	Acked func(now time.Time, a *congestion.Ack)

	// Lost is told of a packet that counts as lost, age after it was sent, Spurious of one that has arrived since.
	// probe says that it was a probe for the packet size.
	Lost     func(now time.Time, pn uint64, size int, age time.Duration, probe bool)
	Spurious func(now time.Time, pn uint64, size int, age time.Duration)
}

func (t *Tracker[T]) traceLost(s *packet[T]) {
	if f := t.config.Trace.Lost; f != nil && s.flags&(flagEliciting|flagMTUProbe) != 0 {
		f(t.time(t.now), s.pn, int(s.size), t.now-s.at, s.flags&flagMTUProbe != 0)
	}
}

func (t *Tracker[T]) traceSpurious(l *lostPacket[T]) {
	if f := t.config.Trace.Spurious; f != nil {
		f(t.time(t.now), l.pn, int(l.size), t.now-l.at)
	}
}
