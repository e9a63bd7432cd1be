// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import "time"

// A Controller decides how much may be in flight on one path, and how fast it may be sent. It is told of everything that
// counts as in flight. It belongs to one goroutine and needs no lock; time is an argument. Time never goes backwards
// from call to call.
//
// Detecting losses, measuring round-trip times and delivery rates, counting bytes in flight and pacing are not its
// business.
type Controller interface {
	// HandleSent is told of a packet that counts as in flight. inFlight includes it.
	HandleSent(now time.Time, number uint64, size, inFlight int)

	// HandleAck is told once of all packets that one acknowledgement newly acknowledges. HandleLoss for the losses the
	// same acknowledgement revealed comes first.
	HandleAck(now time.Time, a *Ack)

	// HandleLoss is told once of all packets found lost at the same moment.
	HandleLoss(now time.Time, l *Loss)

	// HandleSpurious is told that the packets of a loss reported before, all those that fell into its round trip, have
	// arrived after all: what was done because of them should be undone. sentAt is when the newest of them was sent.
	HandleSpurious(now, sentAt time.Time)

	// HandlePersistentCongestion is told that nothing got through for several probe timeouts. RFC 9002 §7.6.
	HandlePersistentCongestion(now time.Time)

	// SetDemand tells what kind of data the path carries from now on.
	SetDemand(now time.Time, d Demand)

	// SetMaxPacket changes the largest packet that will be sent.
	SetMaxPacket(n int)

	// Window returns how many bytes may be in flight.
	Window() int

	// PacingRate returns how fast to send, in bytes per second. Zero means that the controller has no opinion, and a
	// little more than a window per round trip is right.
	PacingRate() float64

	// State describes the controller for statistics and logs.
	State() State
}

// Demand is what kind of data a path carries. The zero value is data that nobody waits for in particular.
type Demand struct {
	// TimeCritical says that data for which delay hurts is being sent on this path: standing queues must be kept short.
	TimeCritical bool

	// Yield says that the receiver at the other end is receiving time-critical data from somebody else, and that we
	// should leave room for that. It does not count while TimeCritical is set. RFC 7016 §3.5.2.1.
	Yield bool
}

// An Ack is what a [Controller] learns from one acknowledgement. It is the caller's to reuse.
type Ack struct {
	Bytes   int       // newly acknowledged and in flight before, in UDP payload
	Packets int       // likewise
	Largest uint64    // number of the newest of them
	SentAt  time.Time // when that was sent

	// RTT is the round-trip sample of the newest, with the delay at the peer taken off; zero if this acknowledgement
	// gives none. MinRTT is the least in the recent past of the path, SmoothedRTT the usual average.
	RTT, MinRTT, SmoothedRTT time.Duration

	InFlight      int // bytes, those acknowledged and lost now no longer included
	PriorInFlight int // bytes before this acknowledgement

	// Limited says that the window or pacing held sending back. If not, growing the window would be guesswork.
	// RFC 9002 §7.8.
	Limited bool

	// Rate is a sample of the rate of delivery, as draft-ietf-ccwg-bbr describes it.
	Rate RateSample

	// CE is how many packets the peer newly reports as marked with congestion experienced. RFC 9002 §7.1.
	CE int
}

// A RateSample says how much was delivered over how long a time: between the sending of a packet and its
// acknowledgement, or the acknowledgement of what had been delivered when it was sent.
type RateSample struct {
	Delivered  int           // bytes delivered in the interval; zero: there is no sample
	Interval   time.Duration // never shorter than the least round-trip time
	Prior      uint64        // bytes delivered on the path, ever, when the newest packet acknowledged was sent
	Total      uint64        // bytes delivered on the path, ever, now
	Lost       int           // bytes lost in the interval
	AppLimited bool          // for a part of the interval there was nothing to send
}

// BytesPerSecond returns the rate, or zero if there is no sample.
func (r *RateSample) BytesPerSecond() float64 {
	if r.Interval <= 0 {
		return 0
	}
	return float64(r.Delivered) / r.Interval.Seconds()
}

// A Loss is what a [Controller] learns of packets found lost at one moment. It is the caller's to reuse.
type Loss struct {
	Bytes    int
	Packets  int
	Largest  uint64    // number of the newest of them
	SentAt   time.Time // when that was sent
	InFlight int       // bytes, those lost now no longer included
	Prior    int       // bytes in flight before

	// SmoothedRTT, LatestRTT and MinRTT are those of the path. How far the latest is above the least tells a loss in
	// a full queue from one in the air.
	SmoothedRTT, LatestRTT, MinRTT time.Duration
}

// State describes a [Controller] at one moment.
type State struct {
	Name       string // of the algorithm
	Phase      string // what it is doing, in its own words
	Window     int    // bytes
	PacingRate float64
	Bandwidth  float64       // bytes per second that the path is thought to carry; zero: no opinion
	QueueDelay time.Duration // how long packets are thought to wait in the path's queues
}
