// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// Stats is a snapshot of a session's flows. Counters count from the beginning of the session.
type Stats struct {
	PacketsSent uint64
	PacketsLost uint64 // declared lost; a few of them may have arrived after all

	BytesSent         uint64 // message bytes sent, repetitions included
	BytesReceived     uint64 // message bytes handed over
	BytesDuplicate    uint64 // message bytes received again
	MessagesSent      uint64 // begun
	MessagesDelivered uint64
	MessagesAbandoned uint64
	MessagesReceived  uint64
	FlowsAccepted     uint64 // opened by the peer
	Blocked           uint64 // times a flow ran out of credit; high numbers mean slow readers at the peer

	OutgoingFlows int // open, or closed and not settled
	IncomingFlows int // not complete

	CongestionWindow int           // bytes
	InFlight         int           // bytes
	RTT              time.Duration // smoothed
	MinRTT           time.Duration // zero: not measured yet
	ProbeTimeouts    int           // consecutive; above 2 or 3 the path is probably gone
}

// Stats returns a snapshot. It may be called from any goroutine.
func (m *Mux) Stats() Stats {
	m.statsMu.Lock()
	defer m.statsMu.Unlock()
	return m.stats
}

// publish makes the loop's numbers visible to Stats.
func (m *Mux) publish() {
	c := &m.count
	c.PacketsLost = m.loss.lost
	c.OutgoingFlows, c.IncomingFlows = len(m.senders), len(m.receivers)
	c.CongestionWindow, c.InFlight = m.loss.cc.Window(), m.loss.inFlight
	c.RTT, c.MinRTT = m.loss.rtt.smoothed, m.loss.rtt.min
	c.ProbeTimeouts = m.loss.backoff
	m.statsMu.Lock()
	m.stats = *c
	m.statsMu.Unlock()
}
