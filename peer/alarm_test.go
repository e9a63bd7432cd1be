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
		var a alarm
		defer a.stop()
		wantRing := func(why string, c <-chan time.Time, after time.Duration) {
			t.Helper()
			<-c
			a.rang()
			if got := time.Since(start); got != after {
				t.Errorf("%s: rings after %v, want %v", why, got, after)
			}
		}
		if a.at(start, time.Time{}) != nil {
			t.Error("an alarm that was never set has a channel")
		}
		at := func(d time.Duration) <-chan time.Time { return a.at(time.Now(), start.Add(d)) }
		wantRing("set", at(time.Second), time.Second)
		at(5 * time.Second)
		wantRing("moved nearer", at(2*time.Second), 2*time.Second)
		at(3 * time.Second)
		wantRing("moved away, rings early", at(9*time.Second), 3*time.Second)
		wantRing("and then in time", at(9*time.Second), 9*time.Second)
		wantRing("in the past", at(time.Second), 9*time.Second)
		at(10 * time.Second)
		wantRing("never, rings early once", a.at(time.Now(), time.Time{}), 10*time.Second)
		select {
		case <-a.at(time.Now(), time.Time{}):
			t.Error("an alarm set to never rings again")
		case <-time.After(time.Hour):
		}
	})
}
