// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import "time"

const (
	// A meter of losses is read after that many packets.
	meterPackets = 200
	meterFew     = 20 // enough to see excess that leaves no doubt
	meterDoubt   = 0.25

	// Loss is excess if it is above meterFactor times the least of the last readings, and meterSlack.
	meterFactor   = 2
	meterSlack    = 0.05
	meterReadings = 8
	usualMost     = 0.2

	// After excess the window stays below ceilingPart of what got through, for longer if that happens again and again.
	ceilingPart  = 0.95
	ceilingFirst = 500 * time.Millisecond
	ceilingMost  = 4 * time.Second
)

// A lossMeter tells loss that comes with sending too much from loss that comes anyway: the latter does not go away when
// less is sent, so that the least of several readings shows it.
type lossMeter struct {
	acked, lost  int
	readings     [meterReadings]float64
	n            int     // readings taken
	usual        float64 // what comes anyway, averaged
	ceiling      float64
	ceilingTime  time.Duration
	ceilingUntil time.Time
}

// floor returns the loss that comes anyway.
func (m *lossMeter) floor() float64 {
	least := 1.0
	for _, r := range m.readings[:min(m.n, meterReadings)] {
		least = min(least, r)
	}
	if m.n == 0 {
		return 0
	}
	return least
}

// endRound reads the meter if enough has passed, and reports excess.
func (m *lossMeter) endRound() (ratio float64, excess bool) {
	total := m.acked + m.lost
	if total < meterFew {
		return 0, false
	}
	ratio = float64(m.lost) / float64(total)
	if total < meterPackets && ratio < meterDoubt {
		return 0, false
	}
	m.discard()
	threshold := meterFactor*m.floor() + meterSlack
	if m.n == 0 {
		threshold = 3 * meterSlack
	}
	m.readings[m.n%meterReadings] = ratio
	m.n++
	if ratio > threshold {
		return ratio, true
	}
	m.usual += (min(ratio, usualMost) - m.usual) / 4
	return ratio, false
}

// suspicious reports whether growing fast would be rash.
func (m *lossMeter) suspicious() bool {
	return m.lost >= 3 && float64(m.lost) > (meterFactor*m.floor()+meterSlack/2)*float64(m.acked+m.lost)
}

// discard forgets what was counted since the last reading.
func (m *lossMeter) discard() { m.acked, m.lost = 0, 0 }

func (m *lossMeter) setCeiling(now time.Time, window float64) {
	m.ceilingTime = min(2*m.ceilingTime, ceilingMost)
	if now.Sub(m.ceilingUntil) > 2*ceilingMost || window < m.ceiling*3/4 || window > m.ceiling*4/3 {
		m.ceilingTime = ceilingFirst
	}
	m.ceiling, m.ceilingUntil = window, now.Add(m.ceilingTime)
}

// ceilingAt returns the window that is not to be exceeded; zero: none.
func (m *lossMeter) ceilingAt(now time.Time) float64 {
	if now.Before(m.ceilingUntil) {
		return m.ceiling
	}
	return 0
}

// weirUndo is what there was before losses made the window smaller.
type weirUndo struct {
	valid  bool
	at     time.Time
	phase  weirPhase
	window float64
	curve  cubicCurve
}

func (c *weir) remember(now time.Time) {
	c.undo = weirUndo{true, now, c.phase, c.window, c.compete.curve}
}

func (c *weir) HandleLoss(now time.Time, l *Loss) {
	c.loss.lost += max(l.Packets, 0)
	if c.easing() {
		c.ease = max(c.ease-float64(max(l.Bytes, 0)), 0)
	}
	if c.phase == weirCompete {
		c.fightLoss(now, l)
	}
}

// handleExcess handles more loss than the path has anyway: what gets through is what there is room for.
func (c *weir) handleExcess(now time.Time, ratio float64) {
	c.remember(now)
	inFlight := max(c.window, c.ease)
	switch c.phase {
	case weirCompete:
		c.reduce(now, cubicBeta, inFlight)
		return
	case weirTrial:
		return
	case weirStartup:
		c.phase = weirCruise
		if c.rate > 0 {
			c.window = min(c.window, c.product(c.rate)+c.rate*startSlack.Seconds())
		}
	case weirCruise:
	}
	window := max(1-ratio, deepestCut) * ceilingPart * c.window
	c.loss.setCeiling(now, window)
	c.cut(now, window, inFlight, c.queue())
}

// handleMark handles congestion that the network has told of. RFC 9002 §7.1, RFC 8511.
func (c *weir) handleMark(now time.Time, a *Ack) {
	inFlight := float64(a.PriorInFlight)
	switch c.phase {
	case weirStartup:
		c.phase = weirCruise
		fallthrough
	case weirCruise:
		if c.cruise.cutting == cutNone {
			c.cut(now, ecnBeta*c.window, inFlight, c.queue())
		}
	case weirCompete:
		if f := &c.compete; f.recovery.IsZero() || a.SentAt.After(f.recovery) {
			c.reduce(now, ecnBeta, inFlight)
		}
	case weirTrial:
	}
}

// HandleSpurious gives back what losses took that were none.
func (c *weir) HandleSpurious(_, sentAt time.Time) {
	if !c.undo.valid || sentAt.After(c.undo.at) {
		return
	}
	c.undo.valid = false
	if c.undo.phase == c.phase && c.undo.window > c.window {
		c.window, c.compete.curve = c.undo.window, c.undo.curve
		c.loss.ceilingUntil = time.Time{}
	}
}

// HandlePersistentCongestion begins anew with the least window: nothing that was known of the path is true any more.
// RFC 9002 §7.6.
func (c *weir) HandlePersistentCongestion(time.Time) {
	*c = weir{
		packet: c.packet, window: 2 * c.packet, demand: c.demand, next: c.next, roundEnd: c.next, rounds: c.rounds,
		srtt: c.srtt, cruise: weirHold{step: 1},
	}
}
