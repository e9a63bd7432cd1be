// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"testing"
	"time"
)

// Both NATs forget, one shortly after the other: that an end has just asked how it looks from outside, and heard that all is
// as it was, does not keep it from asking again.
func TestRebindsInARow(t *testing.T) {
	eachRole(t, func(t *testing.T, dialler int) {
		r := newMobilityRig(t, nil, homes, dialler)
		for range 2 {
			start := time.Now()
			r.hosts[0].Rebind()
			time.Sleep(300 * time.Millisecond)
			r.hosts[1].Rebind()
			time.Sleep(5 * time.Second)
			if gap := r.worst(start); gap > time.Second {
				t.Errorf("nothing arrived for %v, want at most 1 s", gap)
			}
			t.Logf("gaps: %v and %v", r.gap(0, start), r.gap(1, start))
		}
		r.finish()
	})
}
