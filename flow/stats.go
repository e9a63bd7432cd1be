// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/recovery"
)

// Stats is a snapshot of a session's flows. Counters count from the beginning of the session.
type Stats struct {
	PacketsSent     uint64
	PacketsLost     uint64 // declared lost, probes for the packet size not counted
	PacketsSpurious uint64 // of those, arrived after all
	PacketsMarked   uint64 // sent, and reported by the peer as having met with congestion (ECN)
	ProbesSent      uint64 // for the packet size
	TotalTimeouts   uint64 // probe timeouts: times nothing was heard for longer than there should be
	AcksSent        uint64 // acknowledgements, alone or along with data

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
	MinRTT           time.Duration // of the last ten seconds; zero: not measured yet
	ProbeTimeouts    int           // consecutive; above 2 or 3 the path is probably gone

	// What is known of the path. See [Controller].
	Controller string        // the congestion control algorithm
	Phase      string        // what it is doing
	Bandwidth  float64       // bytes per second the path is thought to carry; zero: no opinion
	QueueDelay time.Duration // how long packets are thought to wait in the path's queues
	PacingRate float64       // bytes per second; zero: pacing makes no difference
	MaxPacket  int           // largest UDP payload sent, in bytes
	ECN        string        // testing, unknown, capable or failed: whether marks survive
}

// Stats returns a snapshot, taken when the driver's loop last had nothing to send. It may be called from any goroutine.
func (m *Mux) Stats() Stats {
	m.statsMu.Lock()
	defer m.statsMu.Unlock()
	return m.stats
}

// publish makes the loop's numbers visible to Stats.
func (m *Mux) publish() {
	c := &m.count
	c.OutgoingFlows, c.IncomingFlows = len(m.senders), len(m.receivers)
	var r recovery.Stats
	m.loss.Fill(&r)
	c.PacketsSent, c.PacketsLost, c.PacketsSpurious, c.PacketsMarked = r.Sent, r.Lost, r.Spurious, r.CE
	c.ProbesSent, c.TotalTimeouts, c.AcksSent = r.MTUProbes, r.PTOs, m.acks.Count()
	c.CongestionWindow, c.InFlight = r.Window, r.InFlight
	c.RTT, c.MinRTT, c.ProbeTimeouts = r.SmoothedRTT, r.MinRTT, r.Backoff
	c.Controller, c.Phase, c.Bandwidth = r.Controller.Name, r.Controller.Phase, r.Controller.Bandwidth
	c.QueueDelay, c.PacingRate = r.Controller.QueueDelay, r.PacingRate
	c.MaxPacket, c.ECN = r.MaxPacket, r.ECN.String()
	m.statsMu.Lock()
	m.stats = *c
	m.publishSenders()
	m.statsMu.Unlock()
	m.traceMetrics(c)
}
