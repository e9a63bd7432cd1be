// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math"
	"time"
)

// A kernelCUBIC is CUBIC as Linux has it, to be run without pacing: slow start ends at once when HyStart sees a delay or a
// long train of acknowledgements, grows by a twentieth in a round at least until the first loss, and losses take the
// window down in proportion to what is delivered (RFC 6937).
type kernelCUBIC struct {
	cubic
	packet      float64
	ease        float64 // what may be in flight on the way down
	lost        bool    // ever
	roundEnd    uint64
	roundBegan  time.Time
	lastAck     time.Time
	samples     int
	least, base time.Duration
}

func newKernelCUBIC() Controller {
	return &kernelCUBIC{cubic: *NewCUBIC(simPacket).(*cubic), packet: simPacket}
}

func (k *kernelCUBIC) Window() int { return int(max(k.cwnd, k.ease)) }

func (k *kernelCUBIC) HandleLoss(now time.Time, l *Loss) {
	if !k.inRecovery(l.SentAt) {
		k.ease = float64(l.Prior)
	}
	k.lost = true
	k.cubic.HandleLoss(now, l)
}

func (k *kernelCUBIC) HandleAck(now time.Time, a *Ack) {
	acked := float64(max(a.Bytes, 0))
	k.ease = max(k.ease-(1-cubicBeta)*acked, 0)
	if a.RTT > 0 && (k.base == 0 || a.RTT < k.base) {
		k.base = a.RTT
	}
	if k.slowStart() && k.hystart(now, a) {
		k.ssthresh = k.cwnd
		k.curve.flatten()
	}
	k.initial = false
	before := k.cwnd
	k.cubic.HandleAck(now, a)
	if !k.lost && a.Limited && !k.slowStart() {
		k.cwnd = max(k.cwnd, before+acked/20)
	}
}

// hystart is hystart_update of tcp_cubic.c, and reports whether slow start should end.
func (k *kernelCUBIC) hystart(now time.Time, a *Ack) bool {
	if a.Largest >= k.roundEnd {
		k.roundEnd, k.roundBegan, k.lastAck = k.next, now, now
		k.samples, k.least = 0, math.MaxInt64
	}
	if k.cwnd < 16*k.packet || a.RTT <= 0 {
		return false
	}
	if now.Sub(k.lastAck) <= 2*time.Millisecond {
		k.lastAck = now
		if now.Sub(k.roundBegan) > k.base/2 {
			return true
		}
	}
	k.least = min(k.least, a.RTT)
	if k.samples < 8 {
		k.samples++
		return false
	}
	return k.least > k.base+min(max(k.base/8, 4*time.Millisecond), 16*time.Millisecond)
}
