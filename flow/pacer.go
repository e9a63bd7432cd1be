// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// A pacer spreads packets over the round-trip time. RFC 9002 §7.7. It is a bucket of bytes that fills at the pacing rate
// and may be overdrawn by one packet.
type pacer struct {
	tokens float64 // bytes
	last   time.Time
	rate   float64 // bytes per second
	burst  float64 // what the bucket holds
	packet float64 // size of a full packet
}

const (
	// burstPackets may leave back to back after silence: as many as the initial window. RFC 9002 §7.7.
	burstPackets = 10

	// burstTime is how much the bucket holds at high rates, so that coarse timers do not limit the rate.
	burstTime = 2 * time.Millisecond

	// paceTime is the shortest time worth sleeping for.
	paceTime = time.Millisecond / 2
)

// advance brings the bucket up to now for a window of cwnd bytes per smoothed round-trip time.
func (p *pacer) advance(now time.Time, cwnd, maxPacket int, smoothed time.Duration, slowStart bool) {
	// "Using a value for N that is small, but at least 1 (for example, 1.25) ensures that variations in RTT do not
	// result in underutilization of the congestion window." A growing window needs more.
	gain := 1.25
	if slowStart {
		gain = 2
	}
	p.rate = gain * float64(cwnd) / max(smoothed, 10*time.Microsecond).Seconds()
	p.packet = float64(maxPacket)
	p.burst = max(burstPackets*p.packet, p.rate*burstTime.Seconds())
	if p.last.IsZero() {
		p.tokens = p.burst
	} else if dt := now.Sub(p.last); dt > 0 {
		p.tokens = min(p.tokens+p.rate*dt.Seconds(), p.burst)
	}
	p.last = now
}

func (p *pacer) canSend() bool { return p.tokens > 0 }

func (p *pacer) sent(size int) { p.tokens -= float64(size) }

// next returns when there will be something in the bucket worth waking up for.
func (p *pacer) next() time.Time {
	want := max(p.packet/2, p.rate*paceTime.Seconds())
	d := time.Duration((want - p.tokens) / p.rate * float64(time.Second))
	return p.last.Add(max(d, time.Microsecond))
}
