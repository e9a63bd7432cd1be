// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"testing"
	"time"
)

func TestSleepClock(t *testing.T) {
	for _, tt := range []struct {
		name       string
		wall, mono time.Duration // that have passed
		want       time.Duration
	}{
		{"nothing has happened", time.Hour, time.Hour, 0},
		{"SIGSTOP: all clocks go on, which the timers show", time.Minute, time.Minute, 0},
		{"a lid: the monotonic clock stops", time.Hour + time.Second, time.Second, time.Hour},
		{"exactly what is forgiven", time.Second + sleepMin, time.Second, 0},
		{"wall clock set back", -time.Hour, time.Second, 0},
		{"wall clock corrected", 2 * time.Second, time.Second, 0},
	} {
		c := newSleepClock(time.Now())
		if got := c.lookAt(tt.wall, tt.mono); got != tt.want {
			t.Errorf("%s: slept %v, want %v", tt.name, got, tt.want)
		}
		if got := c.lookAt(tt.wall+time.Second, tt.mono+time.Second); got != 0 {
			t.Errorf("%s: slept %v a second later, want nothing: it has been told", tt.name, got)
		}
	}
	c := newSleepClock(time.Now())
	var wall, mono time.Duration
	for range 1000 { // 50 ms in a second, too much at last
		wall, mono = wall+1050*time.Millisecond, mono+time.Second
		if got := c.lookAt(wall, mono); got != 0 {
			t.Fatalf("slept %v after %v of a clock that is too fast", got, mono)
		}
	}
	if got := c.look(c.from.Add(time.Second)); got != 0 {
		t.Errorf("slept %v by times that agree", got)
	}
}
