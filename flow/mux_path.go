// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A PathInfo is what is known of a path before it is used. The zero value is nothing.
type PathInfo struct {
	// RTT is the round-trip time of the path. If zero or negative, Config.InitialRTT is assumed.
	RTT time.Duration

	// MaxPacket is the largest UDP payload worth trying on the path, in bytes. If not more than Config.MaxPacket,
	// nothing larger than that is tried.
	MaxPacket int
}

// ResetPath tells the machine that packets take another path from now on: the congestion controller, the round-trip
// time and the count of bytes in flight start afresh. RFC 9000 §9.4. What is in flight is still waited for, but two
// probes go out at once, so that losses on the old path show after one round trip on the new one.
func (m *Mux) ResetPath(now time.Time, path PathInfo) {
	if m.closed {
		return
	}
	m.now = now
	m.loss.resetPath(m.newController(), m.config.maxPacket(), path.RTT)
	if m.loss.eliciting > 0 {
		m.loss.probes = probesPerPTO
		m.requeueOldest()
	}
	m.publish()
}

// MaxPacket returns the largest UDP payload to send now, in bytes. It may become less from one packet to the next.
func (m *Mux) MaxPacket() int { return m.loss.maxPacket }

// MTUProbe returns the size of a packet to send now in order to learn whether the path carries packets as large, in
// bytes of UDP payload; zero: none. The driver sends a packet of exactly that size with a PING and padding, and calls
// SentProbe in place of Sent.
func (m *Mux) MTUProbe(time.Time) int { return 0 }

// SentProbe records that packet pn has been sent because MTUProbe asked for it. size is its UDP payload in bytes.
func (m *Mux) SentProbe(now time.Time, pn uint64, size int) { m.Sent(now, pn, size, true) }

// ECN returns the mark that packets are to be sent with.
func (m *Mux) ECN() wire.ECN { return wire.NotECT }

// SetYield records that the peer has asked us, until the time given, to leave room for others' time-critical data.
// RFC 7016 §3.5.2.1.
func (m *Mux) SetYield(until time.Time) {
	m.yieldUntil = until
	m.loss.cc.SetDemand(m.now, congestion.Demand{Yield: true})
}
