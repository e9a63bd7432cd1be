// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSlept(t *testing.T) {
	start := moment{time.Now(), time.Hour}
	for _, tt := range []struct {
		name       string
		mono, wall time.Duration // that have passed
		want       time.Duration
	}{
		{"on time", beat, beat, 0},
		{"a busy machine", beat + time.Second, beat + time.Second, 0},
		{"exactly what is forgiven", beat + sleepMin, beat + sleepMin, 0},
		{"SIGSTOP: all clocks go on", beat + 30*time.Second, beat + 30*time.Second, 30 * time.Second},
		{"a lid: the monotonic clock stops", beat, beat + time.Hour, time.Hour},
		{"wall clock set back meanwhile", beat + 30*time.Second, beat - time.Hour, 30 * time.Second},
		{"wall clock set back", beat, beat - time.Hour, 0},
		{"wall clock corrected", beat, beat + time.Second, 0},
		{"early", 0, 0, 0},
	} {
		to := moment{start.mono.Add(tt.mono), start.wall + tt.wall}
		if got := slept(start, to, beat); got != tt.want {
			t.Errorf("%s: slept %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Without sessions nothing wakes the host.
func TestVigilanceRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVigilance()
		fired := func(d time.Duration) (n int) {
			for end := time.After(d); ; {
				select {
				case <-v.timer.C:
					n++
					if why := v.look(); why != "" {
						t.Errorf("%q with a process that has run all the time", why)
					}
				case <-end:
					return n
				}
			}
		}
		if n := fired(time.Hour); n != 0 {
			t.Errorf("%d wake-ups without sessions, want none", n)
		}
		v.attend(true)
		if n := fired(time.Minute + time.Second); n != 12 {
			t.Errorf("%d wake-ups in a minute with sessions, want one every 5 s", n)
		}
		v.last.mono = v.last.mono.Add(-time.Minute) // as if it had not run for so long
		if why := v.look(); why != "resumed after 56s" {
			t.Errorf("%q after a minute that began a second ago, want the 56 s that are not accounted for", why)
		}
		v.attend(true) // nothing new
		v.attend(false)
		if n := fired(time.Hour); n != 0 {
			t.Errorf("%d wake-ups after the last session has gone, want none", n)
		}
	})
}
