// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// Append appends what should be sent now to b, the payload of packet pn so far, so that the result is no longer than
// limit. It returns b unchanged if nothing may or need be sent; otherwise the packet must be sent. Sent must be called
// for every packet, whether Append contributed or not, before the next Append.
//
// limit must leave room for [wire.MinPayload] bytes at least when b is empty. It may change from packet to packet.
// Packets with nothing but an acknowledgement are not subject to congestion control.
func (m *Mux) Append(now time.Time, pn uint64, b []byte, limit int) []byte {
	if m.closed {
		return b
	}
	m.begin(now, pn)
	m.collect()
	start := len(b)
	ackPending := m.acks.pending()
	var acked bool
	if ackPending {
		b, acked = m.acks.append(now, b, limit)
	}
	afterAck := len(b)

	probing := m.loss.probes > 0
	ok, next := m.loss.canSend(now)
	switch {
	case ok:
		b = m.appendControl(b, limit)
		b = m.appendFlows(b, limit)
		if len(b) == afterAck && probing && len(b)+2 <= limit {
			b = m.appendPing(b)
		}
		// Nothing to send though the window is open: it is not the window that limits. RFC 9002 §7.8.
		m.loss.limited = m.loss.limited && len(b) > afterAck
	case m.hasWork():
		m.loss.limited = true
		m.paceAt = next
	}

	if len(b) == afterAck {
		if !acked || !m.acks.isDue(now) {
			return b[:start]
		}
		// A peer that only receives acknowledgements never acknowledges them, and we would have to repeat old ranges
		// for ever. RFC 9000 §13.2.4.
		if m.ackOnly++; m.ackOnly >= 16 && len(m.acks.seen) > 4 && ok && len(b)+2 <= limit {
			b = m.appendPing(b)
		}
	}
	if acked {
		m.acks.sent()
		m.buildItems = append(m.buildItems, item{kind: itemAck, seq: uint64(m.acks.largest)})
	}
	if m.buildEliciting {
		m.ackOnly = 0
	}
	return b
}

// begin starts the assembly of a packet.
func (m *Mux) begin(now time.Time, pn uint64) {
	if m.building && len(m.buildItems) > 0 {
		// The driver dropped a packet. That is one way of losing it.
		for i := range m.buildItems {
			m.itemLost(m.buildPN, &m.buildItems[i])
		}
	}
	m.now = now
	m.building, m.buildPN, m.buildEliciting = true, pn, false
	m.buildItems = m.buildItems[:0]
	m.paceAt = time.Time{}
	if !m.yieldUntil.IsZero() && !m.yieldUntil.After(now) {
		m.yieldUntil = time.Time{}
		m.loss.cc.SetDemand(now, congestion.Demand{})
	}
}

// hasWork reports whether there is something to send that congestion control holds back.
func (m *Mux) hasWork() bool {
	return m.sched.n > 0 || m.controlq.len() > 0 || m.limits.pending() || m.sessionBlockedDue || m.blockedDue
}

// record notes what the packet being assembled tells the peer.
func (m *Mux) record(it item) {
	m.buildItems = append(m.buildItems, it)
	m.buildEliciting = true
}

func (m *Mux) appendPing(b []byte) []byte {
	m.buildEliciting = true
	return wire.AppendChunk(b, wire.ChunkPing, nil)
}

// appendControl appends what concerns receiving: limits, windows, rejections.
func (m *Mux) appendControl(b []byte, limit int) []byte {
	if m.limits.pending() {
		window, flows, message := m.recvLimit, m.flowLimit, uint64(m.config.maxMessage())
		if len(b)+wire.IntsSize(window, flows, message) > limit {
			return b
		}
		b = wire.AppendInts(b, wire.ChunkSessionLimits, window, flows, message)
		m.limits.sent(m.buildPN)
		m.record(item{kind: itemLimits})
	}
	b = m.appendBlocked(b, limit)
	for m.controlq.len() > 0 {
		r := *m.controlq.at(0)
		if r.reject.pending() {
			if len(b)+wire.IntsSize(r.id, r.rejectCode) > limit {
				return b
			}
			b = wire.AppendInts(b, wire.ChunkFlowReject, r.id, r.rejectCode)
			r.reject.sent(m.buildPN)
			m.record(item{kind: itemReject, r: r})
		}
		if r.window.pending() {
			if len(b)+wire.IntsSize(r.id, r.granted) > limit {
				return b
			}
			b = wire.AppendInts(b, wire.ChunkFlowWindow, r.id, r.granted)
			r.window.sent(m.buildPN)
			m.record(item{kind: itemWindow, r: r})
		}
		r.inControl = false
		takeReceiver(&m.controlq)
	}
	return b
}

// appendFlows fills the packet with what flows have to send.
func (m *Mux) appendFlows(b []byte, limit int) []byte {
	for level := range levels {
		for s := m.sched.head(level); s != nil; s = m.sched.head(level) {
			before := len(b)
			var more bool
			b, more = m.appendFlow(s, b, limit)
			if !more {
				m.sched.removeHead(level)
				continue
			}
			// The packet is full, and the next one is another flow's if this one got anything into it.
			if len(b) > before {
				m.sched.rotate(level)
			}
			return b
		}
	}
	return b
}

// Sent records that packet pn has been sent. size is its UDP payload in bytes; driverEliciting says whether the driver
// put a chunk of its own into it that asks for an acknowledgement.
func (m *Mux) Sent(now time.Time, pn uint64, size int, driverEliciting bool) {
	if m.closed {
		return
	}
	items, eliciting := m.buildItems, m.buildEliciting
	if !m.building || pn != m.buildPN {
		items, eliciting = nil, false
	} else {
		m.building = false
	}
	m.loss.packetSent(now, pn, size, eliciting || driverEliciting, items)
	m.count.PacketsSent++
	m.publish()
}

// AppendAck appends only an acknowledgement, if there is anything to acknowledge and room for it.
func (m *Mux) AppendAck(now time.Time, b []byte, limit int) []byte {
	if m.closed || !m.acks.pending() {
		return b
	}
	b, ok := m.acks.append(now, b, limit)
	if ok {
		m.acks.sent()
	}
	return b
}

// LargestAcked returns the largest packet number the peer has acknowledged, or -1.
func (m *Mux) LargestAcked() int64 { return m.loss.largestAcked }

// PTO returns the probe timeout: how long an answer may reasonably take, the peer's delay included. RFC 9002 §6.2.1.
func (m *Mux) PTO() time.Duration { return m.loss.rtt.pto(wire.MaxAckDelay) }

// RTT returns the smoothed and the least round-trip time of the path. least is zero while there is no measurement.
func (m *Mux) RTT() (smoothed, least time.Duration) { return m.loss.rtt.smoothed, m.loss.rtt.min }
