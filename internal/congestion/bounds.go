// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import "time"

const (
	// maxWindow is more than any path needs that a process can fill, and keeps mistakes from growing without bound.
	maxWindow = 128 << 20

	// maxRate, in bytes per second, and minRate bound pacing: it is always a number to divide by.
	maxRate = 100e9
	minRate = 100

	// unknownRTT stands for the round-trip time until there is a sample: the first window goes out without much ado.
	unknownRTT = time.Millisecond

	// leastRTT keeps clocks that stood still from making rates infinite.
	leastRTT = 10 * time.Microsecond
)

// sanePacket returns n as the size of a packet that windows can be reckoned in.
func sanePacket(n int) int { return min(max(n, 64), maxWindow/8) }

// pacing returns gain windows per round-trip time, in bytes per second.
func pacing(gain, window float64, rtt time.Duration) float64 {
	if rtt <= 0 {
		rtt = unknownRTT
	}
	return min(max(gain*window/max(rtt, leastRTT).Seconds(), minRate), maxRate)
}

// smoothed returns the smoothed round-trip time after a, which was old before.
func smoothed(old time.Duration, a *Ack) time.Duration {
	switch {
	case a.SmoothedRTT > 0:
		return a.SmoothedRTT
	case a.RTT <= 0:
		return old
	case old == 0:
		return a.RTT
	}
	return old + (a.RTT-old)/8
}
