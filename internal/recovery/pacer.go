// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import "time"

const (
	// burstPackets may leave back to back after silence: as many as the initial window. RFC 9002 §7.7.
	burstPackets = 10

	// burstTime is how much may leave at once at high rates, so that packets can be handed over in batches.
	burstTime = time.Millisecond

	// paceTime is the shortest time worth sleeping for.
	paceTime = time.Millisecond / 2

	// maxLate bounds for how much of a late wake-up there is credit.
	maxLate = 4 * time.Millisecond

	// maxSleep bounds how long the caller is told to wait: a rate may have risen meanwhile.
	maxSleep = time.Second

	// unpacedRTT is the round-trip time below which a burst is a window or more, so that pacing would change nothing.
	unpacedRTT = time.Millisecond
)

// maxPace, in bytes per nanosecond, is more than any host sends. A controller is free to say more.
const maxPace = 1000

// A pacer spreads packets over the round-trip time. RFC 9002 §7.7. It is a bucket of bytes that fills at the pacing
// rate and may be overdrawn by one packet.
type pacer struct {
	tokens float64 // bytes
	rate   float64 // bytes per nanosecond
	burst  float64 // bytes the bucket holds
	last   instant // when tokens was right; zero: never
	wake   instant // when the caller was told to come back; zero: he was not

	// What rate and burst were made of.
	cwnd, packet int
	rtt          time.Duration
	gain         float64
	given        float64
}

// set fixes the rate: the given one, in bytes per second, or gain times a window per round trip if that is zero.
func (p *pacer) set(given float64, cwnd, packet int, rtt time.Duration, gain float64) {
	if p.given == given && p.packet == packet && (given > 0 || p.cwnd == cwnd && p.rtt == rtt && p.gain == gain) {
		return
	}
	p.given, p.cwnd, p.packet, p.rtt, p.gain = given, cwnd, packet, rtt, gain
	if given > 0 {
		p.rate = given / float64(time.Second)
	} else {
		p.rate = gain * float64(cwnd) / float64(rtt)
	}
	p.rate = min(p.rate, maxPace)
	p.burst = max(burstPackets*float64(packet), p.rate*float64(burstTime))
	p.tokens = min(p.tokens, p.burst+p.rate*float64(maxLate)) // of a higher rate
}

// advance brings the bucket up to now and reports whether a packet may leave.
func (p *pacer) advance(now instant) bool {
	switch dt := now - p.last; {
	case p.last == 0:
		p.tokens = p.burst
	case dt > 0:
		limit := p.burst
		if p.wake != 0 && now > p.wake {
			// The caller woke up late, not for want of something to send: he gets what he has missed.
			limit += p.rate * float64(min(now-p.wake, maxLate))
		}
		p.tokens = max(p.tokens, min(p.tokens+p.rate*float64(dt), limit))
	}
	p.last, p.wake = now, 0
	return p.tokens > 0
}

func (p *pacer) sent(size int) { p.tokens -= float64(size) }

// next returns when there will be something in the bucket worth waking up for.
func (p *pacer) next() instant {
	want := max(float64(p.packet)/2, p.rate*float64(paceTime))
	p.wake = p.last + instant(min(max((want-p.tokens)/p.rate, float64(time.Microsecond)), float64(maxSleep)))
	return p.wake
}
