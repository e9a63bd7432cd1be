// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import "time"

const (
	// startGrowth is what the window is multiplied by in each round of startup. What is sent beyond the path's capacity
	// stands in the queue before the first sign of that comes back, so less is used beside time-critical data.
	startGrowth         = 2.0
	startGrowthCritical = 1.5

	// startSlack is how much longer than the base delay data may be in flight in startup, before the growth.
	startSlack = 2 * time.Millisecond

	// Startup is over when a queue of an eighth of the base delay stands, within these bounds. RFC 9406 §4.3.
	startQueueMin = 4 * time.Millisecond
	startQueueMax = 16 * time.Millisecond

	// plateauRounds without a quarter more in rate end startup: something else than the window is the limit.
	plateauRounds = 3
	plateauGrowth = 1.25
)

// weirStart is the state of startup.
type weirStart struct {
	best   float64 // rate that counted as growth last
	rounds int     // that have ended since
	settle bool    // after startup, while what was too much runs off
}

func (c *weir) startGrowth() float64 {
	if c.demand.TimeCritical {
		return startGrowthCritical
	}
	return startGrowth
}

// start handles an acknowledgement in startup.
func (c *weir) start(now time.Time, a *Ack, acked float64, ended bool) {
	base := c.base.least()
	if q := c.queue(); q > min(max(base/8, startQueueMin), startQueueMax) {
		c.leaveStart(now, float64(a.PriorInFlight), q)
		return
	}
	if ended && a.Limited && c.rate > 0 {
		if c.startup.rounds++; c.capacity.most() >= plateauGrowth*c.startup.best {
			c.startup.best, c.startup.rounds = c.capacity.most(), 0
		} else if c.startup.rounds >= plateauRounds {
			c.phase = weirCruise
			return
		}
	}
	if !a.Limited {
		return
	}
	gain := c.startGrowth()
	grown := c.window + (gain-1)*acked
	if most := c.capacity.most(); most > 0 {
		grown = min(grown, max(c.window, gain*c.product(most)+gain*most*startSlack.Seconds()))
	}
	c.window = c.bound(grown)
}

// leaveStart goes over to cruising, with the queue let out that startup made.
func (c *weir) leaveStart(now time.Time, inFlight float64, q time.Duration) {
	c.phase = weirCruise
	c.startup.settle = true
	window := min(c.window, inFlight) * float64(c.rest()) / float64(max(c.rest()+q, 1))
	if c.rate > 0 {
		window = min(window, c.product(c.rate))
	}
	c.cut(now, cutMargin*window, inFlight, q)
}

// settle raises the window while the queue of startup runs off: only now the rate of delivery is that of the path.
func (c *weir) settle() {
	if !c.easing() {
		c.startup.settle = false
		return
	}
	c.window = c.bound(max(c.window, min(cutMargin*c.product(c.rate), c.ease)))
}
