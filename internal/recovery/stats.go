// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
)

// Stats describes a tracker. Counters count from its beginning, over all paths.
type Stats struct {
	Sent      uint64 // packets
	Lost      uint64 // ack-eliciting packets declared lost, probes for the packet size not among them
	Spurious  uint64 // of those lost, arrived after all
	PTOs      uint64 // probe timeouts
	CE        uint64 // packets that met with congestion, as the peer reports
	MTUProbes uint64 // probes for the packet size
	MTULost   uint64 // of them, lost on the present path

	Window      int // bytes that may be in flight
	InFlight    int // bytes
	Backoff     int // consecutive probe timeouts
	MaxPacket   int // bytes of UDP payload
	BlackHoles  int // times the packet size had to be taken back on the present path
	ECN         ECNState
	SmoothedRTT time.Duration
	MinRTT      time.Duration // of the last ten seconds; zero: not measured yet
	PacingRate  float64       // bytes per second; zero: pacing does not matter
	Controller  congestion.State
}

// Fill writes a snapshot to s.
func (t *Tracker[T]) Fill(s *Stats) {
	p := &t.path
	*s = t.stats
	s.MTULost, s.BlackHoles = p.mtu.lost, int(p.mtu.blackHoles)
	s.Window, s.InFlight, s.Backoff, s.MaxPacket, s.ECN = p.window(t.now), p.inFlight, t.backoff, p.mtu.current, p.ecn.state
	s.SmoothedRTT, s.MinRTT = p.rtt.smoothed, p.rtt.min()
	if !p.unpaced {
		s.PacingRate = p.pacer.rate * float64(time.Second)
	}
	s.Controller = p.cc.State()
}

// LargestAcked returns the largest packet number the peer has acknowledged, or -1.
func (t *Tracker[T]) LargestAcked() int64 { return t.largestAcked }

// RTT returns the smoothed and the least round-trip time of the path. least is zero while there is no measurement.
func (t *Tracker[T]) RTT() (smoothed, least time.Duration) {
	return t.path.rtt.smoothed, t.path.rtt.min()
}

// Fates returns how many packets that asked for an acknowledgement were acknowledged, and how many were lost, while they
// were of the path in use.
func (t *Tracker[T]) Fates() (acked, lost uint64) { return t.fates[0], t.fates[1] }

// Outstanding returns how many ack-eliciting packets' fate is awaited.
func (t *Tracker[T]) Outstanding() int { return t.eliciting }

// InFlight returns how many bytes are in flight on the present path.
func (t *Tracker[T]) InFlight() int { return t.path.inFlight }

// Tracked returns how many packets take up memory.
func (t *Tracker[T]) Tracked() int { return t.sent.n }

// Probing reports whether packets may be sent regardless of the window, to provoke an answer.
func (t *Tracker[T]) Probing() bool { return t.probes > 0 }
