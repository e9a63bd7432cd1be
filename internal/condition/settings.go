// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package condition

import "time"

// Settings say what a [Link] does to packets. The zero value does nothing. Probabilities are from 0 to 1; values out of
// range, NaN and durations that are negative or longer than an hour included, count as the nearest in range.
type Settings struct {
	Loss         float64 // part of the packets lost, on average
	Burst        float64 // mean length of a run of losses, in packets; up to 1: losses are independent
	BurstDensity float64 // part of the packets lost within a run; 0: all

	Delay          time.Duration // of every packet
	Jitter         time.Duration // added to it at random, from nothing to all of it
	JitterReorders bool          // else packets keep their order

	Reorder      float64       // part of the packets held back, so that later ones overtake them
	ReorderDelay time.Duration // for how long; zero: 10 ms

	Duplicate float64 // part of the packets that arrive twice
	Corrupt   float64 // part of the packets of which one bit is flipped

	Bandwidth  int64         // bits of payload per second; zero: unlimited
	QueueDelay time.Duration // longest wait for the bandwidth, beyond which packets are dropped
	QueueBytes int           // most bytes that wait for the bandwidth; with both zero QueueDelay is 100 ms

	Seed uint64 // of all chance
}

const (
	maxTime             = time.Hour // of everything that takes time
	defaultQueueDelay   = 100 * time.Millisecond
	defaultReorderDelay = 10 * time.Millisecond
)

// IsZero reports whether s does nothing to packets.
func (s Settings) IsZero() bool {
	s = s.clamped()
	return s.Loss == 0 && s.Delay == 0 && s.Jitter == 0 && s.Reorder == 0 && s.Duplicate == 0 && s.Corrupt == 0 &&
		s.Bandwidth == 0
}

// clamped returns s with every value in range and every default in place.
func (s Settings) clamped() Settings {
	for _, p := range [...]*float64{&s.Loss, &s.BurstDensity, &s.Reorder, &s.Duplicate, &s.Corrupt} {
		if !(*p > 0) { // also NaN
			*p = 0
		}
		*p = min(*p, 1)
	}
	if !(s.Burst > 1) {
		s.Burst = 1
	}
	if s.BurstDensity == 0 {
		s.BurstDensity = 1
	}
	s.BurstDensity = max(s.BurstDensity, s.Loss) // all the time is not more than all the time
	for _, d := range [...]*time.Duration{&s.Delay, &s.Jitter, &s.ReorderDelay, &s.QueueDelay} {
		*d = min(max(*d, 0), maxTime)
	}
	if s.ReorderDelay == 0 {
		s.ReorderDelay = defaultReorderDelay
	}
	s.Bandwidth = max(s.Bandwidth, 0)
	s.QueueBytes = max(s.QueueBytes, 0)
	if s.QueueDelay == 0 && s.QueueBytes == 0 {
		s.QueueDelay = defaultQueueDelay
	}
	return s
}

// serialize is how long n bytes take at the bandwidth.
func (s *Settings) serialize(n int) time.Duration {
	return time.Duration(int64(n) * 8 * int64(time.Second) / s.Bandwidth)
}
