// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math"
	"time"
)

// newReno is the controller of RFC 9002 §7.
type newReno struct {
	maxPacket int
	cwnd      int
	ssthresh  int
	acked     int       // bytes acknowledged towards the next step in congestion avoidance
	recovery  time.Time // start of the recovery period; losses of packets sent before it belong to it
}

// NewReno returns the controller RFC 9002 describes for packets of at most maxPacket bytes.
func NewReno(maxPacket int) Controller {
	maxPacket = sanePacket(maxPacket)
	return &newReno{maxPacket: maxPacket, cwnd: initialWindow(maxPacket), ssthresh: math.MaxInt}
}

// initialWindow is "ten times the maximum datagram size, while limiting the window to the larger of 14,720 bytes or
// twice the maximum datagram size". RFC 9002 §7.2.
func initialWindow(maxPacket int) int { return min(10*maxPacket, max(14720, 2*maxPacket)) }

func (c *newReno) HandleSent(time.Time, uint64, int, int) {}
func (c *newReno) SetDemand(time.Time, Demand)            {}
func (c *newReno) SetMaxPacket(n int)                     { c.maxPacket = sanePacket(n); c.cwnd = max(c.cwnd, c.minimum()) }
func (c *newReno) Window() int                            { return c.cwnd }
func (c *newReno) slowStart() bool                        { return c.cwnd < c.ssthresh }

// PacingRate leaves the rate to the pacer but in slow start, where twice the window per round trip is right.
func (c *newReno) PacingRate() float64 { return 0 }

// minimum is the window below which nothing pushes it. RFC 9002 §7.2.
func (c *newReno) minimum() int { return 2 * c.maxPacket }

func (c *newReno) inRecovery(sentAt time.Time) bool {
	return !c.recovery.IsZero() && !sentAt.After(c.recovery)
}

func (c *newReno) HandleAck(now time.Time, a *Ack) {
	if a.CE > 0 {
		c.reduce(now, a.SentAt) // RFC 9002 §7.1
		return
	}
	if !a.Limited || c.inRecovery(a.SentAt) {
		return
	}
	if c.slowStart() {
		c.cwnd = min(c.cwnd+a.Bytes, maxWindow) // RFC 9002 §7.3.1
		return
	}
	// One packet more for every window acknowledged. RFC 9002 §7.3.3.
	c.acked += a.Bytes
	if c.acked >= c.cwnd {
		c.acked -= c.cwnd
		c.cwnd = min(c.cwnd+c.maxPacket, maxWindow)
	}
}

func (c *newReno) HandleLoss(now time.Time, l *Loss) { c.reduce(now, l.SentAt) }

// reduce halves the window, once per round trip. RFC 9002 §7.3.2.
func (c *newReno) reduce(now, sentAt time.Time) {
	if c.inRecovery(sentAt) {
		return
	}
	c.recovery = now
	c.acked = 0
	c.cwnd = max(c.cwnd/2, c.minimum())
	c.ssthresh = c.cwnd
}

func (c *newReno) HandleSpurious(time.Time, time.Time) {}

func (c *newReno) HandlePersistentCongestion(time.Time) {
	c.cwnd = c.minimum()
	c.recovery = time.Time{}
	c.acked = 0
}

func (c *newReno) State() State {
	phase := "congestion avoidance"
	if c.slowStart() {
		phase = "slow start"
	}
	return State{Name: "newreno", Phase: phase, Window: c.cwnd}
}
