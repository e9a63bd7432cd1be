// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import "time"

// An alarm wakes a loop no later than the loop wants. It may ring too early: a deadline that moves away, as most do
// with every packet, costs nothing then.
type alarm struct {
	timer *time.Timer
	set   time.Time // when it rings, or has rung; zero: not set
	due   time.Time // when it can be expected to ring; zero: it has rung, and late has said so
}

// newAlarm returns an alarm that is not set.
func newAlarm() alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return alarm{timer: t}
}

// at has the alarm ring at t or earlier. The zero t is never.
func (a *alarm) at(now, t time.Time) {
	if t.IsZero() || a.set.After(now) && !t.Before(a.set) {
		return
	}
	a.timer.Reset(t.Sub(now))
	a.set, a.due = t, t
	if t.Before(now) {
		a.due = now
	}
}

// late returns how long ago it has rung, the first time that it is asked since.
func (a *alarm) late(now time.Time) time.Duration {
	if a.due.IsZero() || now.Before(a.due) {
		return 0
	}
	d := now.Sub(a.due)
	a.due = time.Time{}
	return d
}

// stop lets go of the timer.
func (a *alarm) stop() { a.timer.Stop() }
