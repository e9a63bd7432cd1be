// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math"
	"time"
)

const (
	cubicC     = 0.4                                   // packets per second cubed. RFC 9438 §4.1
	cubicBeta  = 0.7                                   // RFC 9438 §4.6
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta) // RFC 9438 §4.3
	ecnBeta    = 0.85                                  // after a mark instead of a loss. RFC 8511 §3.1
)

// A cubicCurve is the growth function of RFC 9438 §4: how large the window should be so long after the last reduction.
// Windows are in packets. The zero value has no epoch yet.
type cubicCurve struct {
	wMax  float64   // window before the last reduction, lowered by fast convergence
	prior float64   // window before the last reduction
	k     float64   // seconds from the start of the epoch until the curve reaches wMax
	start time.Time // of the epoch, moved on by the time when the window was not used; zero: begins with the next grow
	wEst  float64   // what Reno would have. RFC 9438 §4.3
	last  time.Time // when the window was last used in this epoch
}

// reduce is told that window is about to be multiplied by beta, and ends the epoch.
func (c *cubicCurve) reduce(window, beta float64) {
	c.prior = window
	if window < c.wMax {
		c.wMax = window * (1 + beta) / 2 // fast convergence. RFC 9438 §4.7
	} else {
		c.wMax = window
	}
	c.start = time.Time{}
}

// flatten makes the next epoch start at its plateau: there is no window worth returning to. RFC 9438 §4.8, §4.10.
func (c *cubicCurve) flatten() { *c = cubicCurve{} }

// begin starts an epoch.
func (c *cubicCurve) begin(now time.Time, window float64) {
	c.start, c.last = now, now
	c.wEst = window
	if c.wMax <= window {
		c.wMax, c.k = window, 0
		return
	}
	c.k = math.Cbrt((c.wMax - window) / cubicC) // RFC 9438 §4.2
}

// skip tells that the window was not used since the last grow: the epoch does not count that time. RFC 9438 §5.8.
func (c *cubicCurve) skip(now time.Time) {
	if !c.start.IsZero() {
		c.start = c.start.Add(now.Sub(c.last))
		c.last = now
	}
}

// grow returns what window becomes with acked packets acknowledged.
func (c *cubicCurve) grow(now time.Time, window, acked float64, rtt time.Duration) float64 {
	if c.start.IsZero() {
		c.begin(now, window)
	}
	c.last = now
	t := now.Sub(c.start).Seconds()

	// "Once W_est has grown to reach the cwnd at the time of most recently setting ssthresh … the sender SHOULD set
	// α_cubic to 1". RFC 9438 §4.3.
	alpha := cubicAlpha
	if c.wEst >= c.prior {
		alpha = 1
	}
	c.wEst += alpha * acked / window
	if c.at(t) < c.wEst {
		return max(window, c.wEst)
	}
	// RFC 9438 §4.2, §4.4, §4.5.
	target := min(max(c.at(t+rtt.Seconds()), window), 1.5*window)
	return window + (target-window)/window*acked
}

// at returns the window of the curve t seconds into the epoch.
func (c *cubicCurve) at(t float64) float64 {
	d := t - c.k
	return cubicC*d*d*d + c.wMax
}
