// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/recovery"
)

var noTrace Trace

// startTrace returns the hooks for loss recovery.
func (m *Mux) startTrace() recovery.Trace {
	m.trace = m.config.Trace
	if m.trace == nil {
		m.trace = &noTrace
		return recovery.Trace{}
	}
	return recovery.Trace{
		Acked: func(now time.Time, a *congestion.Ack) {
			if f := m.trace.PacketsAcked; f != nil {
				f(PacketsAcked{now, a.Packets, a.Bytes, a.Largest, a.RTT, a.InFlight})
			}
		},
		Lost: func(now time.Time, pn uint64, size int, age time.Duration, probe bool) {
			if f := m.trace.PacketLost; f != nil {
				f(PacketLost{now, pn, size, age, probe})
			}
		},
		Spurious: func(now time.Time, pn uint64, size int, age time.Duration) {
			if f := m.trace.SpuriousLoss; f != nil {
				f(SpuriousLoss{now, pn, size, age})
			}
		},
	}
}

func (m *Mux) tracePacketSent(now time.Time, pn uint64, size int, eliciting, probe bool) {
	if f := m.trace.PacketSent; f != nil {
		f(PacketSent{now, pn, size, eliciting, probe, m.loss.InFlight()})
	}
}

// traceMetrics tells of what has changed since the last time.
func (m *Mux) traceMetrics(c *Stats) {
	f := m.trace.MetricsUpdated
	if f == nil || m.now.IsZero() {
		return
	}
	now := Metrics{
		SmoothedRTT: c.RTT, MinRTT: c.MinRTT, CongestionWindow: c.CongestionWindow, InFlight: c.InFlight,
		PacingRate: c.PacingRate, QueueDelay: c.QueueDelay, Controller: c.Controller, Phase: c.Phase,
		ProbeTimeouts: c.ProbeTimeouts, MaxPacket: c.MaxPacket, ECN: c.ECN,
	}
	if now == m.told {
		return
	}
	m.told = now
	now.Time = m.now
	f(now)
}
