// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import "time"

const (
	// Somebody else fills the queue if that many cuts in as many rounds and as long a time did not let it out.
	vainCuts   = 3
	vainRate   = 0.9 // what is left of the rate at most: somebody took the rest
	vainMany   = 5   // cuts, however much is left
	vainRounds = 6
	vainTime   = 500 * time.Millisecond

	// For rampTime, but after the first loss only while the queue is not as long as it gets, the window grows by rampPart
	// in each round: a newcomer that makes the queue overflow leaves us far less than a fair share.
	rampTime  = 2 * time.Second
	rampPart  = 1.0 / 8
	rampQueue = 0.9

	// fightBeta is what a loss leaves of the window.
	fightBeta = 0.78

	// If cuts are in vain so soon after a trial said that nobody else is there, the path has become longer.
	staleTime = 3 * time.Second

	// fullQueue is the part of the longest queue seen lately from which on a loss is taken for an overflow.
	fullQueue = 0.7

	// Trials, whether the other is still there, come when the clock shows a multiple of trialFirst, then of trialMost:
	// others like us do theirs at the same time, find that the queue does not need them to stay full, and leave together.
	trialFirst = 2 * time.Second
	trialMost  = 4 * time.Second
	trialCalm  = time.Second // since the last loss, after which everybody has less in flight
	trialCut   = 0.7         // of the window
	trialAlone = 0.94        // of the rate that is kept although less is in flight: nobody else took the room
)

// weirFight is the state of competing.
type weirFight struct {
	curve    cubicCurve
	recovery time.Time // losses of packets sent before belong to the reduction at that time
	longest  peak      // queue, in seconds, over half seconds
	began    time.Time

	aloneAt  time.Time // when a trial last said that nobody else is there
	trialAt  time.Time
	trialGap time.Duration
	window   float64 // before the trial
	rate     float64 // before the trial
	stage    trialStage
	mark     uint64
}

type trialStage uint8

const (
	trialEasing trialStage = iota
	trialWaiting
	trialMeasuring
)

// enterCompete begins to compete, with the window that was given up in vain.
func (c *weir) enterCompete(now time.Time, window float64) {
	c.phase = weirCompete
	c.window, c.ease = c.bound(max(window, c.window)), 0
	c.compete = weirFight{began: now, trialGap: trialFirst, trialAt: nextTrial(now, trialFirst)}
}

// nextTrial returns when the clock next shows a multiple of gap, but not at once.
func nextTrial(now time.Time, gap time.Duration) time.Time {
	now = now.Add(trialCalm)
	return now.Add(now.Truncate(gap).Add(gap).Sub(now.Round(0)))
}

// leaveCompete goes back to cruising.
func (c *weir) leaveCompete() {
	c.phase = weirCruise
	c.cruise.reset()
}

// fight handles an acknowledgement while competing.
func (c *weir) fight(now time.Time, a *Ack, acked float64, ended bool) {
	f := &c.compete
	q := c.queue()
	f.longest.add(uint64(now.Sub(f.began)/(500*time.Millisecond)), q.Seconds())
	if q <= c.target()/2 {
		c.leaveCompete()
		return
	}
	if ended && a.Limited && !now.Before(f.trialAt) {
		if now.Sub(f.recovery) >= trialCalm {
			c.beginTrial(a, q)
			return
		}
		f.trialAt = nextTrial(now, f.trialGap)
	}
	if !a.Limited || c.easing() {
		f.curve.skip(now)
		return
	}
	if now.Sub(f.began) < rampTime && (f.recovery.IsZero() || q.Seconds() < rampQueue*f.longest.most()) {
		c.window = c.bound(c.window + rampPart*acked)
	}
	c.window = c.bound(c.packet * f.curve.grow(now, c.window/c.packet, acked/c.packet, c.srtt))
}

// overflow reports whether a loss looks like that of a full queue.
func (c *weir) overflow(l *Loss) bool {
	q := max(c.queue(), l.LatestRTT-c.base.least())
	return q.Seconds() >= fullQueue*c.compete.longest.most()
}

// fightLoss handles a loss while competing.
func (c *weir) fightLoss(now time.Time, l *Loss) {
	f := &c.compete
	if !f.recovery.IsZero() && !l.SentAt.After(f.recovery) || !c.overflow(l) {
		return
	}
	c.remember(now)
	c.reduce(now, fightBeta, float64(l.InFlight))
}

// reduce multiplies the window by beta, as CUBIC does.
func (c *weir) reduce(now time.Time, beta, inFlight float64) {
	f := &c.compete
	f.recovery = now
	f.curve.reduce(c.window/c.packet, beta)
	c.shrink(now, beta*c.window, inFlight)
}

// beginTrial takes half of what is in flight away, or as much as makes the queue.
func (c *weir) beginTrial(a *Ack, q time.Duration) {
	f := &c.compete
	f.window, f.rate, f.stage = c.window, c.roundRate, trialEasing
	c.phase = weirTrial
	c.window = c.bound(c.window * max(trialCut, 1.05*float64(c.rest())/float64(c.rest()+q)))
	c.ease = float64(a.PriorInFlight)
}

// try handles an acknowledgement during a trial.
func (c *weir) try(now time.Time, a *Ack, ended bool) {
	f := &c.compete
	switch f.stage {
	case trialEasing:
		if !c.easing() {
			f.stage, f.mark = trialWaiting, c.next
		}
	case trialWaiting:
		if a.Largest >= f.mark {
			f.stage = trialMeasuring
			c.roundEnd, c.roundBegan, c.roundBytes = c.next, now, 0
		}
	case trialMeasuring:
		if ended {
			c.endTrial(now, c.roundRate >= trialAlone*f.rate)
		}
	}
}

func (c *weir) endTrial(now time.Time, alone bool) {
	if alone {
		c.compete.aloneAt = now
		c.leaveCompete()
		return
	}
	f := &c.compete
	c.phase = weirCompete
	c.window, c.ease = f.window, 0
	f.curve.skip(now)
	f.trialGap = min(2*f.trialGap, trialMost)
	f.trialAt = nextTrial(now, f.trialGap)
}
