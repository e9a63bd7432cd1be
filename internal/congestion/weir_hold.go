// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math"
	"time"
)

const (
	// The queue above which a cut comes, but at least two packets' time at the path's capacity, below which there is
	// nothing to measure. It is the same for everybody else: whoever cuts later takes the room of those who cut first.
	// So whoever yields cuts at less; far less on slow paths, as each of several knows only its own part of the capacity.
	holdQueue      = 5 * time.Millisecond
	holdPackets    = 2
	yieldQueue     = 2 * time.Millisecond
	yieldPackets   = 0.5
	holdPacketsMax = 25 * time.Millisecond

	// cutMargin is what is left of the window after the queue has been taken off it, so that the queue empties
	// although everybody else on the path is as wrong as we are.
	cutMargin  = 0.97
	yieldCut   = 0.75
	deepestCut = 0.5 // at one time

	// After calmRounds without a queue, or calmTime, the step doubles with every round, up to a part of the window.
	calmRounds   = 4
	calmTime     = 400 * time.Millisecond
	holdStepTime = 40 * time.Millisecond
	holdStepPart = 1.0 / 16
	stepPart     = 1.0 / 8
	yieldPart    = 1.0 / 64
	yieldStep    = 1.0 / 4
	probeRTTCut  = 0.75 // when the base delay has not been seen for long
)

// weirHold is the state of cruising: grow until a queue stands, then cut by that queue.
type weirHold struct {
	step float64 // packets that the window grows by in a round
	calm int     // rounds ended without a queue

	// A cut has shown its effect when a packet is acknowledged that was sent after what was too much had run off.
	cutting cutStage
	mark    uint64
	cutQ    time.Duration // queue at the cut

	// Cuts that do not let the queue out say that somebody else fills it.
	cuts       int // since the queue was last out
	firstAt    time.Time
	firstRound uint64
	before     float64       // window before the first of them
	least      time.Duration // round trip since
	rate       float64       // at the first of them
}

type cutStage uint8

const (
	cutNone cutStage = iota
	cutEasing
	cutWaiting
)

func (h *weirHold) reset() { *h = weirHold{step: 1} }

// target returns the queue above which a cut comes.
func (c *weir) target() time.Duration {
	t, packets := holdQueue, float64(holdPackets)
	if c.yielding() {
		t, packets = yieldQueue, yieldPackets
	}
	if c.capacity.most() > 0 {
		t = max(t, min(time.Duration(packets*c.packet/c.capacity.most()*float64(time.Second)), holdPacketsMax))
	}
	return t
}

// hold handles an acknowledgement while cruising.
func (c *weir) hold(now time.Time, a *Ack, acked float64, ended bool) {
	if c.startup.settle {
		c.settle()
	}
	h := &c.cruise
	switch {
	case h.cutting == cutEasing && !c.easing():
		h.cutting, h.mark = cutWaiting, c.next
	case h.cutting == cutWaiting && a.Largest >= h.mark:
		h.cutting = cutNone
	}
	q, target := c.queue(), c.target()
	if a.RTT > 0 && a.RTT < h.least {
		h.least = a.RTT
	}
	if q <= target/2 {
		h.cuts = 0
	}
	if q > target && a.Limited && (h.cutting == cutNone || q > h.cutQ+h.cutQ/2+target) {
		c.cutQueue(now, a, q)
		return
	}
	if ended {
		ceiling := c.loss.ceilingAt(now)
		c.adjustStep(q <= target/4 && !c.loss.suspicious() && (ceiling == 0 || c.window < ceiling))
		c.probeBase(now, a)
	}
	if !a.Limited || c.easing() || q > target || 2*a.PriorInFlight < int(c.window) {
		return
	}
	grown := c.window + h.step*c.packet*acked/c.window
	if ceiling := c.loss.ceilingAt(now); ceiling > 0 {
		grown = min(grown, max(ceiling, c.window))
	}
	c.window = c.bound(grown)
}

// firstStep is a packet over a round trip of holdStepTime, less over a shorter and more over a longer one so that neither
// takes the room of the other, but little of the window.
func (c *weir) firstStep() float64 {
	r := math.Sqrt(float64(c.rest()) / float64(holdStepTime))
	if c.yielding() {
		return yieldStep * r // or what is taken off at a cut is back before the other one has had it
	}
	return min(r, max(holdStepPart*c.window/c.packet, 1))
}

func (c *weir) adjustStep(calm bool) {
	h := &c.cruise
	if !calm {
		h.calm, h.step = 0, c.firstStep()
		return
	}
	part := stepPart
	if c.yielding() {
		part = yieldPart
	}
	if h.calm++; h.calm > calmRounds || time.Duration(h.calm)*c.rest() > calmTime {
		h.step = max(min(2*h.step, part*c.window/c.packet), c.firstStep())
	}
}

// cutQueue takes the queue q off the window, or finds that doing so has been in vain.
func (c *weir) cutQueue(now time.Time, a *Ack, q time.Duration) {
	h := &c.cruise
	if h.cuts == 0 {
		h.firstAt, h.firstRound, h.before, h.rate = now, c.rounds, c.window, c.roundRate
		h.least = c.recent.least()
	}
	h.cuts++
	if !c.yielding() && h.cuts >= vainCuts && c.rounds-h.firstRound >= vainRounds && now.Sub(h.firstAt) >= vainTime &&
		(h.cuts >= vainMany || c.roundRate < vainRate*h.rate) {
		if now.Sub(c.compete.aloneAt) < staleTime {
			// We were alone a moment ago: no queue is there, but the path has become longer.
			c.base.restart(now, h.least)
			c.window = c.bound(h.before)
			c.leaveCompete()
			return
		}
		c.enterCompete(now, h.before)
		return
	}
	inFlight := float64(a.PriorInFlight)
	from := min(c.window, max(inFlight, c.packet))
	if c.easing() {
		from = inFlight // what made the queue is still on its way
	}
	window := from * float64(c.rest()) / float64(c.rest()+q)
	rate := max(c.rate, c.bestRate)
	if h.cutting != cutNone || q > 4*c.target() {
		rate = c.rate // the path has become slower than what is in flight knows
	}
	if rate > 0 {
		window = min(window, c.product(rate))
	}
	margin := cutMargin
	if c.yielding() {
		margin = yieldCut
	}
	c.cut(now, max(margin*window, deepestCut*from), inFlight, q)
}

// cut shrinks the window to window because of the queue q.
func (c *weir) cut(now time.Time, window, inFlight float64, q time.Duration) {
	c.shrink(now, window, inFlight)
	h := &c.cruise
	h.cutting, h.cutQ, h.step, h.calm = cutEasing, q, c.firstStep(), 0
}

// probeBase makes the queue run empty when the base delay has not shown for long.
func (c *weir) probeBase(now time.Time, a *Ack) {
	if c.base.touched.IsZero() || now.Sub(c.base.touched) < baseSpan || c.cruise.cutting != cutNone || !a.Limited {
		return
	}
	c.base.touched = now
	c.cut(now, probeRTTCut*c.window, float64(a.PriorInFlight), c.queue())
}
