// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestECN: RFC 9000 §13.4.2.
func TestECN(t *testing.T) {
	type report struct {
		first, last uint64
		counts      *wire.ECNCounts
	}
	counts := func(ect0, ect1, ce uint64) *wire.ECNCounts { return &wire.ECNCounts{ECT0: ect0, ECT1: ect1, CE: ce} }
	for _, test := range []struct {
		name string
		acks []report // of 20 packets sent
		want ECNState
		ce   int
	}{
		{"nothing came back", nil, ECNUnknown, 0},
		{"all arrived", []report{{0, 19, counts(10, 0, 0)}}, ECNCapable, 0},
		{"some met with congestion", []report{{0, 9, counts(7, 0, 3)}, {0, 19, counts(7, 0, 3)}}, ECNCapable, 3},
		{"no counts", []report{{0, 19, nil}}, ECNFailed, 0},
		{"counts end", []report{{0, 4, counts(5, 0, 0)}, {0, 19, nil}}, ECNFailed, 0},
		{"no counts, but nothing marked", []report{{0, 9, counts(10, 0, 0)}, {0, 19, nil}}, ECNCapable, 0},
		{"bleached", []report{{0, 9, counts(4, 0, 0)}}, ECNFailed, 0},
		{"remarked", []report{{0, 9, counts(0, 10, 0)}}, ECNFailed, 0},
		{"more than were sent", []report{{0, 9, counts(21, 0, 0)}}, ECNFailed, 0},
		{"counts go back", []report{{0, 4, counts(5, 0, 0)}, {0, 9, counts(4, 0, 6)}}, ECNFailed, 0},
		{"old acknowledgement", []report{{0, 9, counts(9, 0, 1)}, {0, 4, counts(5, 0, 0)}, {0, 19, counts(9, 0, 1)}}, ECNCapable, 1},
		{"unmarked ones only", []report{{10, 19, nil}}, ECNFailed, 0}, // 0 to 9 are found lost
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, Config[uint64]{})
			for i := range 20 {
				want := wire.NotECT
				if i < ecnTests {
					want = wire.ECT0
				}
				if got := l.ECN(); got != want {
					t.Fatalf("packet %d is marked %d, want %d", i, got, want)
				}
				l.send(1)
			}
			l.advance(50 * ms)
			for _, r := range test.acks {
				l.ackECN(r.counts, r.first, r.last)
			}
			ce := 0
			for _, a := range l.cc.acks {
				ce += a.CE
			}
			if got := l.path.ecn.state; got != test.want || ce != test.ce {
				t.Errorf("%v, %d met with congestion; want %v, %d", got, ce, test.want, test.ce)
			}
			if marks := l.ECN() == wire.ECT0; marks != (test.want == ECNCapable) {
				t.Errorf("marking: %v", marks)
			}
		})
	}
}

// TestECNTimeout: no marks while nothing is heard, should they be what the path does not like.
func TestECNTimeout(t *testing.T) {
	l := newLab(t, Config[uint64]{})
	l.send(2)
	l.now = l.NextTimeout()
	if l.HandleTimeout(l.now); l.ECN() != wire.NotECT {
		t.Error("the probes of a silent path are marked")
	}
	l.send(2)
	l.advance(ms)
	if l.ackECN(&wire.ECNCounts{ECT0: 2}, 0, 3); l.ECN() != wire.ECT0 {
		t.Errorf("state %v after the marks arrived, want capable", l.path.ecn.state)
	}
	if l.ResetPath(l.now, Info{}); l.path.ecn.state != ECNTesting {
		t.Errorf("state %v on another path, want testing", l.path.ecn.state)
	}
}
