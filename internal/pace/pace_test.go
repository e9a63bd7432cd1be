// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package pace

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const every, burst = 100 * time.Millisecond, 3
	start := time.Unix(1e9, 0)
	var p Pace
	for _, step := range []struct {
		at      time.Duration
		allowed bool
		due     time.Duration // of the next, after that
	}{
		{0, true, 0},
		{0, true, 0},
		{0, true, every},
		{0, false, every},
		{every - 1, false, every},
		{every, true, 2 * every},
		{every, false, 2 * every},
		{4*every - 1, true, 4*every - 1},
		{10 * every, true, 10 * every}, // rest earns no more than a burst
		{10 * every, true, 10 * every},
		{10 * every, true, 11 * every},
		{10 * every, false, 11 * every},
	} {
		now := start.Add(step.at)
		if got := p.Allow(now, every, burst); got != step.allowed {
			t.Errorf("at %v: allowed %v, want %v", step.at, got, step.allowed)
		}
		if got := p.Due(now, every, burst).Sub(start); got != step.due {
			t.Errorf("at %v: next due at %v, want %v", step.at, got, step.due)
		}
	}
}

// A caller that keeps some of the burst for others asks for less of it.
func TestPaceReserve(t *testing.T) {
	now := time.Unix(1e9, 0)
	var p Pace
	for range 2 {
		p.Take(now, time.Second)
	}
	if p.Allow(now, time.Second, 2) {
		t.Error("a third event was let through by a burst of 2")
	}
	if !p.Allow(now, time.Second, 3) {
		t.Error("a third event was not let through by a burst of 3")
	}
}
