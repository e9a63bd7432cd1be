// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"io"
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

// ref names s.
func (s *Sender) ref() Ref {
	if !s.hasID {
		return Ref{ID: NoID}
	}
	return Ref{ID: s.open.Flow}
}

func (m *Mux) traceOpened(s *Sender) {
	if f := m.trace.FlowOpened; f != nil {
		f(Opened{m.now, s.ref(), s.Label(), priorityOf(uint8(s.level)), s.open.Stream})
	}
}

// traceClosed tells once that s is over, if it was told that s has begun.
func (m *Mux) traceClosed(s *Sender, err error) {
	if f := m.trace.FlowClosed; f != nil && s.hasID && !s.closedT {
		s.closedT = true
		f(Closed{m.now, s.ref(), err})
	}
}

func (m *Mux) traceReceiverClosed(r *Receiver, err error) {
	if f := m.trace.FlowClosed; f != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		f(Closed{m.now, Ref{r.id, true}, err})
	}
}

// traceMessageSent tells that the next message of s is begun.
func (m *Mux) traceMessageSent(s *Sender, size int) {
	if f := m.trace.MessageSent; f != nil {
		f(MessageSent{m.now, s.ref(), s.next, size})
	}
}

// traceSettled tells what became of a message.
func (m *Mux) traceSettled(s *Sender, seq uint64, p *sendMsg, o Outcome, reason Reason) {
	delivered, abandoned := m.trace.MessageDelivered, m.trace.MessageAbandoned
	if delivered == nil && abandoned == nil {
		return
	}
	size := len(p.buf.b)
	switch {
	case o == Delivered && delivered != nil:
		delivered(MessageDelivered{m.now, s.ref(), seq, size})
	case o == Abandoned && abandoned != nil:
		abandoned(MessageAbandoned{m.now, s.ref(), seq, size, reason})
	}
}

func (m *Mux) traceBlocked(s *Sender, session bool, limit uint64) {
	if f := m.trace.Blocked; f != nil {
		f(Blocked{m.now, s.ref(), session, limit})
	}
}
