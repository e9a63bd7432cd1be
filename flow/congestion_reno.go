// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"math"
	"time"
)

// reno is the NewReno controller of RFC 9002 §7.
type reno struct {
	maxPacket int
	cwnd      int
	ssthresh  int
	acked     int       // bytes acknowledged towards the next step in congestion avoidance
	recovery  time.Time // start of the recovery period; losses of packets sent before it belong to it
}

// NewReno returns the controller RFC 9002 describes for packets of at most maxPacket bytes.
func NewReno(maxPacket int) Controller {
	return &reno{
		maxPacket: maxPacket,
		// "ten times the maximum datagram size, while limiting the window to the larger of 14,720 bytes or twice the
		// maximum datagram size". RFC 9002 §7.2.
		cwnd:     min(10*maxPacket, max(14720, 2*maxPacket)),
		ssthresh: math.MaxInt,
	}
}

func (c *reno) Window() int     { return c.cwnd }
func (c *reno) SlowStart() bool { return c.cwnd < c.ssthresh }

// minimum is the window below which nothing pushes it. RFC 9002 §7.2.
func (c *reno) minimum() int { return 2 * c.maxPacket }

func (c *reno) inRecovery(sentAt time.Time) bool {
	return !c.recovery.IsZero() && !sentAt.After(c.recovery)
}

func (c *reno) HandleAck(_ time.Time, p SentPacket, limited bool) {
	if !limited || c.inRecovery(p.SentAt) {
		return
	}
	if c.SlowStart() {
		c.cwnd += p.Size // RFC 9002 §7.3.1
		return
	}
	// One packet more for every window acknowledged. RFC 9002 §7.3.3.
	c.acked += p.Size
	if c.acked >= c.cwnd {
		c.acked -= c.cwnd
		c.cwnd += c.maxPacket
	}
}

func (c *reno) HandleLoss(now time.Time, p SentPacket) {
	if c.inRecovery(p.SentAt) {
		return
	}
	// One reduction per round trip. RFC 9002 §7.3.2.
	c.recovery = now
	c.acked = 0
	c.cwnd = max(c.cwnd/2, c.minimum())
	c.ssthresh = c.cwnd
}

func (c *reno) HandlePersistentCongestion(time.Time) {
	c.cwnd = c.minimum()
	c.recovery = time.Time{}
	c.acked = 0
}
