// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import "time"

// An alarm wakes a loop no later than the loop wants. It may ring too early: a deadline that moves away, as most do
// with every packet, costs nothing then. The zero value is ready for use.
type alarm struct {
	timer *time.Timer
	set   time.Time // when it rings; zero: never
}

// at returns the channel that delivers when the alarm rings: at t or earlier. The zero t is never.
func (a *alarm) at(now, t time.Time) <-chan time.Time {
	switch {
	case a.timer == nil && t.IsZero():
		return nil
	case a.timer == nil:
		a.timer = time.NewTimer(t.Sub(now))
	case t.IsZero(), !a.set.IsZero() && !t.Before(a.set):
		return a.timer.C
	default:
		a.timer.Reset(t.Sub(now))
	}
	a.set = t
	return a.timer.C
}

// rang says that the channel has delivered.
func (a *alarm) rang() { a.set = time.Time{} }

// stop lets go of the timer.
func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
