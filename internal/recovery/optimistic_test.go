// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"errors"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestOptimisticAck: a peer that acknowledges what it has not seen gives itself away by a number that was skipped.
// RFC 9000 §21.4.
func TestOptimisticAck(t *testing.T) {
	for _, test := range []struct {
		name string
		ack  []wire.AckRange
		bad  bool
	}{
		{"honest", []wire.AckRange{{Start: 6, End: 10}, {Start: 0, End: 5}}, false},
		{"honest, of a part", []wire.AckRange{{Start: 8, End: 9}}, false},
		{"the one skipped", []wire.AckRange{{Start: 5, End: 6}}, true},
		{"everything", []wire.AckRange{{Start: 0, End: 10}}, true},
		{"in a later range", []wire.AckRange{{Start: 8, End: 10}, {Start: 3, End: 7}}, true},
	} {
		l := newLab(t, Config[uint64]{})
		l.send(5)
		l.pn++ // 5 is skipped
		l.send(4)
		l.advance(20 * ms)
		before := l.InFlight()
		err := l.HandleAck(l.now, &wire.Ack{Ranges: test.ack})
		pe := (*wire.ProtocolError)(nil)
		if got := errors.As(err, &pe) && pe.Code == wire.CodeAck; got != test.bad || err != nil && !got {
			t.Errorf("%s: %v, want an error: %v", test.name, err, test.bad)
		}
		if test.bad && l.InFlight() != before {
			t.Errorf("%s: %d bytes in flight, %d before: it has had an effect", test.name, l.InFlight(), before)
		}
	}
}

// TestSkippedNumbersAreRemembered: the latest skips count for as long as an honest peer may acknowledge around them.
func TestSkippedNumbersAreRemembered(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	var skipped []uint64
	for range 3 * maxSkipped {
		l.send(3)
		skipped = append(skipped, l.pn)
		l.pn++
	}
	l.send(1)
	for _, pn := range skipped[len(skipped)-maxSkipped:] {
		if err := l.HandleAck(l.now, &wire.Ack{Ranges: []wire.AckRange{{Start: pn, End: pn + 1}}}); err == nil {
			t.Errorf("packet %d was skipped, and its acknowledgement taken", pn)
		}
	}
	if len(l.skipped) > maxSkipped {
		t.Errorf("%d skips remembered, want at most %d", len(l.skipped), maxSkipped)
	}
}
