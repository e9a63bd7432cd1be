// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		a := newAlarm()
		defer a.stop()
		at := func(d time.Duration) { a.at(time.Now(), start.Add(d)) }
		wantRing := func(why string, after time.Duration) {
			t.Helper()
			<-a.timer.C
			if got := time.Since(start); got != after {
				t.Errorf("%s: rings after %v, want %v", why, got, after)
			}
		}
		wantSilence := func(why string) {
			t.Helper()
			select {
			case <-a.timer.C:
				t.Error(why)
			case <-time.After(2 * time.Hour):
			}
			start = time.Now()
		}
		a.at(start, time.Time{})
		wantSilence("an alarm that was never set rings")
		at(time.Second)
		wantRing("set", time.Second)
		at(5 * time.Second)
		at(2 * time.Second)
		wantRing("moved nearer", 2*time.Second)
		at(3 * time.Second)
		at(9 * time.Second)
		wantRing("moved away, rings early", 3*time.Second)
		at(9 * time.Second)
		wantRing("and then in time", 9*time.Second)
		at(time.Second)
		wantRing("in the past", 9*time.Second)
		at(10 * time.Second)
		a.at(time.Now(), time.Time{})
		wantRing("never, rings early once", 10*time.Second)
		a.at(time.Now(), time.Time{})
		wantSilence("an alarm set to never rings again")
		at(time.Second)
		time.Sleep(4 * time.Second)
		if d := a.late(time.Now()); d != 3*time.Second {
			t.Errorf("late by %v, want 3 s", d)
		}
		if d := a.late(time.Now()); d != 0 {
			t.Errorf("late by %v when asked again, want nothing new", d)
		}
		at(time.Second)
		if d := a.late(time.Now()); d != 0 {
			t.Errorf("late by %v right after it was set to the past", d)
		}
	})
}
