// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/recovery"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A PathInfo is what is known of a path before it is used. The zero value is nothing.
type PathInfo struct {
	// RTT is the round-trip time of the path. If zero or negative, Config.InitialRTT is assumed.
	RTT time.Duration

	// MaxPacket is the largest UDP payload worth trying on the path, in bytes. If not more than Config.MaxPacket,
	// nothing larger than that is tried.
	MaxPacket int

	// Lost says that what is in flight has been lost with the path before, as far as one can tell: it is sent again as
	// fast as the new path allows, and not only when its loss has been found out.
	Lost bool
}

// ResetPath tells the machine that packets take another path from now on: the congestion controller, the round-trip
// time and the count of bytes in flight start afresh. RFC 9000 §9.4. What is in flight is still waited for, but two
// probes go out at once, so that losses on the old path show after one round trip on the new one.
func (m *Mux) ResetPath(now time.Time, path PathInfo) {
	if m.closed {
		return
	}
	m.now = now
	m.loss.ResetPath(now, recovery.Info(path))
	m.demand = congestion.Demand{} // as the new controller believes
	m.updateDemand(now)
	m.publish()
}

// Resume tells the machine that the path carries packets again, as far as one can tell, after nothing was heard: what has
// not been acknowledged is asked about at once, and not when the next probe timeout, which has grown meanwhile, is over.
// It does nothing if no probe timeout has passed.
func (m *Mux) Resume(now time.Time) {
	if m.closed {
		return
	}
	m.now = now
	m.loss.Resume(now)
	m.publish()
}

// MaxPacket returns the largest UDP payload to send now, in bytes. It grows as the path proves to carry more, and may
// become less from one packet to the next.
func (m *Mux) MaxPacket() int { return m.loss.MaxPacket() }

// MTUProbe returns the size of a packet to send now in order to learn whether the path carries packets as large, in
// bytes of UDP payload; zero: none. The driver sends a packet of exactly that size with a PING and padding, and calls
// SentProbe in place of Sent, or ignores it. It asks for none before ResetPath has said what is worth trying, and for
// none while little is sent. docs/PROTOCOL.md §9.
func (m *Mux) MTUProbe(now time.Time) int {
	if m.closed {
		return 0
	}
	return m.loss.MTUProbe(now)
}

// SentProbe records that packet pn has been sent because MTUProbe asked for it. size is its UDP payload in bytes.
// Nothing of Append's may be in it, and it must not come between an Append and its Sent.
func (m *Mux) SentProbe(now time.Time, pn uint64, size int) {
	if !m.closed {
		m.loss.SentProbe(now, pn, size)
		m.tracePacketSent(now, pn, size, true, true)
	}
}

// ECN returns the mark to send the next packet with. A driver that cannot mark ignores it: the peer will not report
// marks, and that is the end of it. RFC 9000 §13.4.2.
func (m *Mux) ECN() wire.ECN { return m.loss.ECN() }

// SetYield records that the peer has asked us, until the time given, to leave room for others' time-critical data.
// RFC 7016 §3.5.2.1. It counts from the next Append.
func (m *Mux) SetYield(until time.Time) {
	if until.After(m.yieldUntil) {
		m.yieldUntil = until
	}
}

// timeCritical is for how long data of an urgent flow makes a path one that carries such data. RFC 7016 §3.5.2.1.
const timeCritical = 800 * time.Millisecond

// updateDemand tells the controller when the kind of data it carries changes.
func (m *Mux) updateDemand(now time.Time) {
	d := congestion.Demand{
		TimeCritical: !m.urgentSent.IsZero() && now.Sub(m.urgentSent) < timeCritical,
		Yield:        !m.yieldUntil.IsZero() && now.Before(m.yieldUntil),
	}
	if d != m.demand {
		m.demand = d
		m.loss.SetDemand(now, d)
	}
}
