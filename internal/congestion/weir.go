// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import "time"

// A weirPhase is what a weir is doing.
type weirPhase uint8

const (
	weirStartup weirPhase = iota // the window doubles in each round trip until a queue shows
	weirCruise                   // the window grows until a small queue stands, then that queue is let out
	weirCompete                  // somebody else keeps the queue full: grow and shrink like CUBIC
	weirTrial                    // competing, with less in flight for a moment to see whether that somebody is still there
)

func (p weirPhase) String() string {
	return [...]string{"startup", "cruise", "compete", "trial"}[p]
}

// weir holds the level of the path's queue as a weir holds the level of a stream. See docs/decisions/0005.
//
// A round is a round trip: it ends when a packet sent after its beginning is acknowledged.
type weir struct {
	packet float64 // largest packet, bytes
	window float64 // bytes that may be in flight, once ease is over
	ease   float64 // while above window, this counts: it falls by a part of what is acknowledged, so that sending never stalls
	phase  weirPhase
	demand Demand

	next     uint64 // number of the packet sent next
	rounds   uint64 // that have ended
	roundEnd uint64 // the round ends with the acknowledgement of this packet

	srtt    time.Duration
	base    baseDelay
	recent  recentDelay
	squeeze ackSqueeze

	rate     float64 // newest sample of the rate of delivery, bytes per second; zero: none yet
	bestRate float64 // most of this round and the one before
	thisRate float64 // most of this round
	capacity peak    // of the rates, over rounds

	roundBegan time.Time
	roundBytes int     // acknowledged in this round
	roundRate  float64 // bytes per second acknowledged in the round before

	startup weirStart
	cruise  weirHold
	compete weirFight
	loss    lossMeter
	undo    weirUndo
}

// NewWeir returns the product's controller for packets of at most maxPacket bytes. It keeps the standing queue of the
// path to a few milliseconds, holds its own against loss-based TCP when that fills the queue anyway, and does not take
// loss for congestion as long as less in flight would not mean less of it.
func NewWeir(maxPacket int) Controller {
	maxPacket = sanePacket(maxPacket)
	c := &weir{packet: float64(maxPacket), window: float64(initialWindow(maxPacket))}
	c.cruise.step = 1
	return c
}

func (c *weir) HandleSent(_ time.Time, number uint64, _, _ int) { c.next = number + 1 }

func (c *weir) SetMaxPacket(n int) {
	c.packet = float64(sanePacket(n))
	c.window = c.bound(c.window)
}

// SetDemand begins and ends yielding.
func (c *weir) SetDemand(now time.Time, d Demand) {
	was := c.yielding()
	c.demand = d
	if !c.yielding() || was {
		return
	}
	// Make room at once; the small target keeps it.
	c.phase = weirCruise
	c.cruise.reset()
	c.shrink(now, c.window/2, c.window)
}

func (c *weir) yielding() bool { return c.demand.Yield && !c.demand.TimeCritical }

func (c *weir) Window() int { return int(max(c.window, c.ease)) }

// PacingRate is a little more than a window per round trip: acknowledgements set the pace, and pacing only spreads what
// they release in one go.
func (c *weir) PacingRate() float64 {
	gain := cruisePace
	if c.phase == weirStartup {
		gain = startPace
	}
	return pacing(gain, max(c.window, c.ease), c.srtt)
}

const (
	startPace  = 2
	cruisePace = 1.2

	// easePart of what is acknowledged is not replaced on the way down to a smaller window; more when the queue is long.
	easePart = 0.5
	easeFast = 0.75
)

// bound keeps a window between what is always allowed and what no path needs.
func (c *weir) bound(window float64) float64 {
	return min(max(window, leastPackets*c.packet), maxWindow)
}

// leastPackets is the least window: RFC 9002 §7.2. More would be a queue of its own on a path of a few hundred kbit/s.
const leastPackets = 2

// rest returns what a round trip takes without a queue, acknowledgements that wait for each other included.
func (c *weir) rest() time.Duration { return c.base.least() + min(c.squeeze.typical, squeezeMax) }

// queue returns how long packets wait in the path's queues.
func (c *weir) queue() time.Duration { return max(c.recent.least()-c.rest(), 0) }

// product returns how much has to be in flight for rate to be delivered, bytes that get lost on the way included.
func (c *weir) product(rate float64) float64 { return rate * c.rest().Seconds() / (1 - c.loss.usual) }

// shrink sets the window, and lets what is in flight beyond it run off while sending goes on more slowly.
func (c *weir) shrink(_ time.Time, window, inFlight float64) {
	c.window = c.bound(min(window, c.window))
	c.ease = min(max(inFlight, c.window), maxWindow)
}

// easing reports whether more may be in flight than the window says, on the way down to it.
func (c *weir) easing() bool { return c.ease > c.window }

func (c *weir) HandleAck(now time.Time, a *Ack) {
	c.srtt = smoothed(c.srtt, a)
	if a.RTT > 0 {
		c.base.add(now, a.RTT, c.phase == weirCompete || c.phase == weirTrial)
		c.recent.add(now, a.RTT, c.srtt)
		c.squeeze.add(now, a.RTT)
	}
	if r := a.Rate.BytesPerSecond(); r > 0 && r < maxRate {
		c.rate = r
		c.thisRate = max(c.thisRate, r)
		c.bestRate = max(c.bestRate, r)
		if !a.Rate.AppLimited || r > c.capacity.most() {
			c.capacity.add(c.rounds, r)
		}
	}
	acked := float64(max(a.Bytes, 0))
	if c.easing() {
		part := easePart
		if c.queue() > 4*c.target() {
			part = easeFast
		}
		c.ease = max(c.ease-part*acked, 0)
	}
	c.loss.acked += max(a.Packets, 0)
	c.roundBytes += max(a.Bytes, 0)
	ended := a.Largest >= c.roundEnd
	if ended {
		c.endRound(now)
	}
	if a.CE > 0 {
		c.handleMark(now, a)
		return
	}
	switch c.phase {
	case weirStartup:
		c.start(now, a, acked, ended)
	case weirCruise:
		c.hold(now, a, acked, ended)
	case weirCompete:
		c.fight(now, a, acked, ended)
	case weirTrial:
		c.try(now, a, ended)
	}
}

func (c *weir) endRound(now time.Time) {
	c.rounds++
	c.roundEnd = c.next
	if d := now.Sub(c.roundBegan); !c.roundBegan.IsZero() && d > 0 {
		c.roundRate = float64(c.roundBytes) / d.Seconds()
	}
	c.roundBegan, c.roundBytes = now, 0
	c.bestRate, c.thisRate = c.thisRate, 0
	c.squeeze.endRound()
	if c.easing() || c.cruise.cutting != cutNone {
		c.loss.discard() // it comes of what was sent before the cut
		return
	}
	if ratio, excess := c.loss.endRound(); excess {
		c.handleExcess(now, ratio)
	}
}

func (c *weir) State() State {
	phase := c.phase.String()
	if c.phase == weirCruise && c.yielding() {
		phase = "yield"
	}
	return State{
		Name: "weir", Phase: phase, Window: c.Window(), PacingRate: c.PacingRate(),
		Bandwidth: c.capacity.most(), QueueDelay: c.queue(),
	}
}
