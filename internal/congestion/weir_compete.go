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

	// Until so many losses in a full queue, the window grows by rampPart in each round: a newcomer that makes the queue
	// overflow leaves us far less than a fair share, and one that was there before us has all of it.
	rampLosses = 2
	rampPart   = 1.0 / 8

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
	trialMuch  = 0.55        // of all that is in flight: more than is ours
	trialAlone = 0.94        // of the rate that is kept although less is in flight: nobody else took the room
	trialSure  = 0.85        // likewise after the second cut
)

// weirFight is the state of competing.
type weirFight struct {
	curve    cubicCurve
	recovery time.Time // losses of packets sent before belong to the reduction at that time; zero: none yet
	longest  peak      // queue, in seconds, over half seconds
	began    time.Time
	ramp     int // losses until the window grows as usual

	trialAt  time.Time
	trialGap time.Duration
	stage    trialStage
	mark     uint64
	window   float64       // before the trial
	rate     float64       // likewise
	rtt      time.Duration // likewise
	again    bool          // nobody else has shown once
	aloneAt  time.Time     // when that was the result of a trial
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
	c.compete = weirFight{began: now, ramp: rampLosses, trialGap: trialFirst, trialAt: nextTrial(now, trialFirst)}
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
	if f.recovery.IsZero() && q <= c.target()/2 {
		c.leaveCompete() // it was only a newcomer like us
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
	if f.ramp > 0 {
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
	f.recovery, f.ramp = now, f.ramp-1
	f.curve.reduce(c.window/c.packet, beta)
	c.shrink(now, beta*c.window, inFlight)
}

// beginTrial takes a part of what is in flight away, but not more than makes the queue.
func (c *weir) beginTrial(a *Ack, q time.Duration) {
	f := &c.compete
	c.phase = weirTrial
	f.window, f.rate, f.rtt, f.again = c.window, c.roundRate, c.recent.least(), false
	c.takeAway(a, q)
}

// takeAway makes the window smaller and waits for the effect.
func (c *weir) takeAway(a *Ack, q time.Duration) {
	c.compete.stage = trialEasing
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
			kept := trialAlone
			if f.again {
				kept = trialSure
			}
			c.endTrial(now, a, c.roundRate >= kept*f.rate)
		}
	}
}

// endTrial draws the conclusion. That nobody else is there has to show twice: once may fall into the moment in which the
// other makes room because of a loss of his own. If more than half is ours, what the trial took stays away.
func (c *weir) endTrial(now time.Time, a *Ack, alone bool) {
	f := &c.compete
	switch {
	case alone && f.again:
		f.aloneAt = now
		c.leaveCompete()
		return
	case alone:
		f.again = true
		c.takeAway(a, c.queue())
		return
	case !f.again && c.trialShare() > trialMuch:
		f.ramp = 0
		f.curve.reduce(f.window/c.packet, c.window/f.window)
	default:
		c.window, c.ease = c.bound(f.window), 0 // packets may have become larger
		f.curve.skip(now)
	}
	c.phase = weirCompete
	f.trialGap = min(2*f.trialGap, trialMost)
	f.trialAt = nextTrial(now, f.trialGap)
}

// trialShare returns which part of all that was in flight before the trial was ours: the part by which the round trip
// became shorter, of the part that we took away.
func (c *weir) trialShare() float64 {
	f := &c.compete
	return (1 - float64(c.recent.least())/float64(f.rtt)) / (1 - c.window/f.window)
}
