// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"sync/atomic"
	"time"
)

// A process, or the whole host, that has been suspended finds its mappings gone, and peers that may have given up. No timer
// looks out for that: whenever a session has something to do, if only to send what keeps it alive, it compares the clocks.

const (
	// sleepMin is by how much the clocks must have gone on without us. Less is a machine that is busy.
	sleepMin = 2 * time.Second

	// wakeGrace is how long a peer has to be heard after a sleep that has outlasted Config.Linger.
	wakeGrace = 5 * time.Second

	clockDrift = 100 * time.Millisecond // by which the wall clock is corrected without anybody noticing
)

// A sleepClock notices that the wall clock has gone on while the monotonic one stood still, as it does on some systems
// while the host sleeps. One that is set forward is taken for a sleep, which costs a round of challenges.
type sleepClock struct {
	from  time.Time    // immutable
	ahead atomic.Int64 // by how much the wall clock is, less what it was at the beginning
}

func newSleepClock(now time.Time) *sleepClock { return &sleepClock{from: now} }

// look returns for how long the host has slept since the last look, or zero. Of many goroutines that look one is told.
func (c *sleepClock) look(now time.Time) time.Duration {
	return c.lookAt(time.Duration(now.UnixNano()-c.from.UnixNano()), now.Sub(c.from))
}

func (c *sleepClock) lookAt(wall, mono time.Duration) time.Duration {
	is, was := int64(wall-mono), c.ahead.Load()
	d := time.Duration(is - was)
	if max(d, -d) <= clockDrift || !c.ahead.CompareAndSwap(was, is) || d <= sleepMin {
		return 0
	}
	return d
}

// noteSleep finds out whether the host has slept, and has everything looked after if so. It is called in every round, and
// tells whether the session's own timers are late because nothing ran.
func (s *Session) noteSleep(now time.Time) {
	slept := s.e.clock.look(now)
	if late := s.alarm.late(now); late > sleepMin { // all clocks went on, as when a process is stopped
		slept = max(slept, late)
		s.wokenAt = now
	}
	if slept > 0 {
		s.e.networkChanged(fmt.Sprintf("resumed after %v", slept.Round(100*time.Millisecond)))
	}
}

// lingerEnds returns when the session has been silent for too long, or the zero time. Silence counts only if the peer was
// asked meanwhile, which a process that did not run cannot have done.
func (s *Session) lingerEnds() time.Time {
	if s.e.cfg.Linger <= 0 {
		return time.Time{}
	}
	at := s.lastHeard.Add(s.e.cfg.Linger)
	if s.e.battery.Load() { // silence means nothing
		if s.stalled.IsZero() {
			return time.Time{}
		}
		if missed := s.missedAt.Add(s.e.cfg.Linger); missed.After(at) {
			at = missed
		}
	}
	if grace := s.wokenAt.Add(min(wakeGrace, s.e.cfg.Linger)); !s.wokenAt.IsZero() && grace.After(at) {
		return grace
	}
	return at
}
