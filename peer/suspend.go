// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"time"
)

const (
	// beat is how often an endpoint with sessions looks at the clock. Rarer would notice a sleep later; more often would cost
	// battery, and a suspension is over at the first beat after it.
	beat = 5 * time.Second

	// sleepMin is by how much the clocks must have gone on without us. Less is a machine that is busy.
	sleepMin = 2 * time.Second
)

// A moment is what the clocks show. Some systems stop the monotonic clock while the host sleeps, others do not, and none
// stops that of the wall.
type moment struct {
	mono time.Time     // only differences are meaningful
	wall time.Duration // since any point
}

func momentNow() moment {
	now := time.Now()
	return moment{now, time.Duration(now.UnixNano())}
}

// slept says for how long this process has not run between two moments that were to be interval apart, or zero if that is
// too little to tell from a busy machine. A wall clock that was set back means nothing; one that was set forward is taken for
// a sleep, which costs a round of challenges.
func slept(from, to moment, interval time.Duration) time.Duration {
	late := max(to.mono.Sub(from.mono), to.wall-from.wall) - interval
	if late <= sleepMin {
		return 0
	}
	return late
}

// A vigilance notices that the process, or the whole host, has been suspended: mappings may be gone then, and peers may have
// given up. It belongs to one goroutine, and its timer runs only while the endpoint has sessions.
type vigilance struct {
	timer *time.Timer
	last  moment
	beats bool
}

func newVigilance() *vigilance {
	v := &vigilance{timer: time.NewTimer(time.Hour)}
	v.timer.Stop()
	return v
}

// attend starts or stops the beat.
func (v *vigilance) attend(sessions bool) {
	switch {
	case sessions && !v.beats:
		v.last = momentNow()
		v.timer.Reset(beat)
	case !sessions && v.beats:
		v.timer.Stop()
	}
	v.beats = sessions
}

// look is called when the timer has fired. It returns why the network is to be looked after, or nothing.
func (v *vigilance) look() (why string) {
	now := momentNow()
	if d := slept(v.last, now, beat); d > 0 {
		why = fmt.Sprintf("resumed after %v", d.Round(100*time.Millisecond))
	}
	v.last = now
	v.timer.Reset(beat)
	return why
}
