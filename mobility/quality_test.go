// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"testing"
	"time"
)

func TestBetter(t *testing.T) {
	const ms = time.Millisecond
	mk := func(k Kind, valid bool, rtt time.Duration) Path { return Path{Kind: k, Validated: valid, RTT: rtt} }
	for _, tt := range []struct {
		name   string
		p, cur Path
		margin time.Duration
		want   bool
	}{
		{"the same", mk(Direct, true, 50*ms), mk(Direct, true, 50*ms), 0, false},
		{"direct beats relayed", mk(Direct, true, 90*ms), mk(Relayed, true, 10*ms), 20 * ms, true},
		{"relayed never beats direct", mk(Relayed, true, 1*ms), mk(Direct, true, 900*ms), 20 * ms, false},
		{"direct but unproven", mk(Direct, false, 10*ms), mk(Relayed, true, 90*ms), 20 * ms, false},
		{"anything that works beats what does not", mk(Relayed, true, 90*ms), mk(Direct, false, 10*ms), 20 * ms, true},
		{"neither works, direct first", mk(Direct, false, 0), mk(Relayed, false, 0), 20 * ms, true},
		{"within the margin", mk(Direct, true, 81*ms), mk(Direct, true, 100*ms), 20 * ms, false},
		{"at the margin", mk(Direct, true, 80*ms), mk(Direct, true, 100*ms), 20 * ms, false},
		{"beyond the margin", mk(Direct, true, 79*ms), mk(Direct, true, 100*ms), 20 * ms, true},
		{"slower", mk(Direct, true, 150*ms), mk(Direct, true, 100*ms), 20 * ms, false},
		{"long paths need an eighth", mk(Direct, true, 360*ms), mk(Direct, true, 400*ms), 20 * ms, false},
		{"long paths, a quarter less", mk(Direct, true, 300*ms), mk(Direct, true, 400*ms), 20 * ms, true},
		{"no margin", mk(Relayed, true, 80*ms), mk(Relayed, true, 100*ms), 0, true},
		{"no margin, but jitter", mk(Relayed, true, 99*ms), mk(Relayed, true, 100*ms), 0, false},
		{"unmeasured does not win", mk(Direct, true, 0), mk(Direct, true, 100*ms), 0, false},
		{"unmeasured does not lose", mk(Direct, true, 10*ms), mk(Direct, true, 0), 0, false},
	} {
		if got := better(tt.p, tt.cur, tt.margin); got != tt.want {
			t.Errorf("%s: better = %v, want %v", tt.name, got, tt.want)
		}
		if tt.want && better(tt.cur, tt.p, tt.margin) {
			t.Errorf("%s: each is better than the other", tt.name)
		}
	}
}
