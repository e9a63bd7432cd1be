// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import "time"

// baseSpan is for how long the least round trip is believed, and up to twice as long.
const (
	baseSpan = 10 * time.Second
	baseHeld = 6 // times that while somebody else keeps the queue full
)

// A baseDelay is the least round-trip time of the last ten to twenty seconds: what the path takes with empty queues.
type baseDelay struct {
	current, previous time.Duration // least of this span and of the one before; zero: none
	began             time.Time
	touched           time.Time // when a sample last came close to the least
}

func (b *baseDelay) add(now time.Time, rtt time.Duration, held bool) {
	span := baseSpan
	if held {
		span *= baseHeld
	}
	if b.began.IsZero() || now.Sub(b.began) >= span {
		b.previous, b.current, b.began = b.current, 0, now
	}
	if b.current == 0 || rtt < b.current {
		b.current = rtt
	}
	if base := b.least(); rtt <= base+max(base/16, time.Millisecond) {
		b.touched = now
	}
}

// restart forgets what was measured before.
func (b *baseDelay) restart(now time.Time, rtt time.Duration) {
	*b = baseDelay{current: rtt, began: now, touched: now}
}

func (b *baseDelay) least() time.Duration {
	if b.previous > 0 && b.previous < b.current {
		return b.previous
	}
	return b.current
}

// A recentDelay is the least round-trip time of the last quarter to half of a round trip, and of at least four samples:
// it is rid of the jitter of single packets, and of what the acknowledgements waited for each other. What is left above
// the base delay is a standing queue.
type recentDelay struct {
	current, previous time.Duration
	samples           int
	began             time.Time
}

func (r *recentDelay) add(now time.Time, rtt, srtt time.Duration) {
	if r.samples >= 4 && now.Sub(r.began) >= srtt/4 || r.samples == 0 {
		r.previous, r.current, r.samples, r.began = r.current, rtt, 0, now
	}
	r.samples++
	r.current = min(r.current, rtt)
}

func (r *recentDelay) least() time.Duration {
	if r.previous > 0 && r.previous < r.current {
		return r.previous
	}
	return r.current
}

// A peak is the most of the last ten to twenty of something, in the units of its clock.
type peak struct {
	current, previous float64
	began             uint64
}

const peakSpan = 10

func (p *peak) add(clock uint64, v float64) {
	if clock-p.began >= peakSpan {
		p.previous, p.current, p.began = p.current, 0, clock
	}
	p.current = max(p.current, v)
}

func (p *peak) most() float64 { return max(p.current, p.previous) }

// An ackSqueeze measures how much later than they could acknowledgements come because they wait for each other on the
// way. A queue cannot empty faster than time goes by: where round trips of one acknowledgement after another become
// shorter faster than that, the first ones have waited.
type ackSqueeze struct {
	at      time.Time     // of the last sample
	rtt     time.Duration // the last sample
	run     time.Duration // by which the samples fell too fast since they last did not
	longest time.Duration // run of this round
	typical time.Duration
}

func (s *ackSqueeze) add(now time.Time, rtt time.Duration) {
	fall := s.rtt - rtt - now.Sub(s.at)
	if s.at.IsZero() || fall <= 0 {
		s.run = 0
	} else {
		s.run += fall
		s.longest = max(s.longest, s.run)
	}
	s.at, s.rtt = now, rtt
}

// squeezeMax bounds what is made of it.
const squeezeMax = 25 * time.Millisecond

// endRound follows a longer run quickly and a shorter one slowly.
func (s *ackSqueeze) endRound() {
	if d := s.longest - s.typical; d > 0 {
		s.typical += d / 2
	} else {
		s.typical += d / 8
	}
	s.longest = 0
}
