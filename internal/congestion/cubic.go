// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math"
	"time"
)

// cubic is the controller of RFC 9438 with the slow start of RFC 9406.
type cubic struct {
	maxPacket int
	cwnd      float64 // bytes
	ssthresh  float64
	curve     cubicCurve
	hystart   hyStart
	initial   bool      // in the first slow start, which is the only one HyStart++ ends
	limited   bool      // the window was used when an acknowledgement last came
	recovery  time.Time // start of the recovery period; losses of packets sent before it belong to it
	next      uint64    // number of the packet sent next
	srtt      time.Duration
	undo      cubicUndo
}

// cubicUndo is what there was before a reduction. RFC 9438 §4.9.2.
type cubicUndo struct {
	valid          bool
	cwnd, ssthresh float64
	curve          cubicCurve
	recovery       time.Time
}

// NewCUBIC returns the controller RFC 9438 describes for packets of at most maxPacket bytes. It fills the queue of the
// path like the TCP of most hosts does.
func NewCUBIC(maxPacket int) Controller {
	maxPacket = sanePacket(maxPacket)
	return &cubic{
		maxPacket: maxPacket, cwnd: float64(initialWindow(maxPacket)), ssthresh: math.Inf(1), initial: true,
	}
}

func (c *cubic) HandleSent(_ time.Time, number uint64, _, _ int) { c.next = number + 1 }

func (c *cubic) SetDemand(time.Time, Demand) {}

func (c *cubic) SetMaxPacket(n int) {
	c.maxPacket = sanePacket(n)
	c.cwnd = max(c.cwnd, c.minimum())
}

func (c *cubic) Window() int      { return int(c.cwnd) }
func (c *cubic) slowStart() bool  { return c.cwnd < c.ssthresh }
func (c *cubic) minimum() float64 { return 2 * float64(c.maxPacket) }

// PacingRate is a quarter more than a window per round trip, or two windows in slow start. RFC 9002 §7.7.
func (c *cubic) PacingRate() float64 {
	gain := 1.25
	if c.slowStart() {
		gain = 2
	}
	return pacing(gain, c.cwnd, c.srtt)
}

func (c *cubic) inRecovery(sentAt time.Time) bool {
	return !c.recovery.IsZero() && !sentAt.After(c.recovery)
}

func (c *cubic) HandleAck(now time.Time, a *Ack) {
	c.srtt = smoothed(c.srtt, a)
	c.limited = a.Limited
	if a.CE > 0 && !c.inRecovery(a.SentAt) {
		c.reduce(now, ecnBeta, a.PriorInFlight)
		c.undo.valid = false // a mark is never spurious
		return
	}
	if c.inRecovery(a.SentAt) {
		return
	}
	if !a.Limited {
		c.curve.skip(now)
		return
	}
	packet := float64(c.maxPacket)
	if c.slowStart() {
		divisor, done := 1, false
		if c.initial {
			divisor, done = c.hystart.handleAck(a, c.next)
		}
		if done {
			c.leaveSlowStart()
			return
		}
		c.cwnd = min(c.cwnd+float64(max(a.Bytes, 0))/float64(divisor), maxWindow)
		if !c.slowStart() {
			c.leaveSlowStart()
		}
		return
	}
	c.cwnd = min(packet*c.curve.grow(now, c.cwnd/packet, float64(max(a.Bytes, 0))/packet, c.srtt), maxWindow)
}

// leaveSlowStart goes on to congestion avoidance without a loss, at the plateau of the curve. RFC 9438 §4.10.
func (c *cubic) leaveSlowStart() {
	if c.initial {
		c.curve.flatten()
	}
	c.initial = false
	c.ssthresh = min(c.ssthresh, c.cwnd)
}

func (c *cubic) HandleLoss(now time.Time, l *Loss) {
	if c.inRecovery(l.SentAt) {
		return
	}
	c.undo = cubicUndo{true, c.cwnd, c.ssthresh, c.curve, c.recovery}
	c.reduce(now, cubicBeta, l.Prior)
}

// reduce multiplies the window by beta. RFC 9438 §4.6.
func (c *cubic) reduce(now time.Time, beta float64, inFlight int) {
	window := c.cwnd
	if !c.limited {
		// "ssthresh = flight_size * β_cubic": a window that was not used says nothing about the path.
		window = min(window, max(float64(inFlight), c.minimum()))
	}
	c.recovery, c.initial = now, false
	c.curve.reduce(window/float64(c.maxPacket), beta)
	c.cwnd = max(window*beta, c.minimum())
	c.ssthresh = c.cwnd
}

// HandleSpurious restores what the reduction took. RFC 9438 §4.9.2.
func (c *cubic) HandleSpurious(_, sentAt time.Time) {
	if !c.undo.valid || !c.inRecovery(sentAt) {
		return
	}
	if c.undo.cwnd > c.cwnd {
		c.cwnd, c.ssthresh, c.curve, c.recovery = c.undo.cwnd, c.undo.ssthresh, c.undo.curve, c.undo.recovery
	}
	c.undo.valid = false
}

// HandlePersistentCongestion returns to the least window. RFC 9002 §7.6.2, RFC 9438 §4.8.
func (c *cubic) HandlePersistentCongestion(time.Time) {
	if c.slowStart() {
		c.ssthresh = max(cubicBeta*min(c.cwnd, c.ssthresh), c.minimum())
	}
	c.cwnd = c.minimum()
	c.recovery = time.Time{}
	c.initial = false
	c.undo.valid = false
	c.curve.flatten()
}

func (c *cubic) State() State {
	phase := "congestion avoidance"
	if c.slowStart() {
		phase = "slow start"
	}
	return State{Name: "cubic", Phase: phase, Window: c.Window(), PacingRate: c.PacingRate()}
}
