// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

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
	m.expireMessages(now)
	start := len(b)
	acked, probing := false, m.loss.Probing()
	if m.acks.Pending() && (m.acks.IsDue(now) || probing || m.hasWork()) {
		b, acked = m.acks.Append(now, b, limit)
	}
	afterAck := len(b)
	ok, next := m.loss.CanSend(now)
	switch {
	case ok:
		b = m.appendControl(b, limit)
		b = m.appendFlows(b, limit)
		if len(b) == afterAck && probing && len(b)+2 <= limit {
			b = m.appendPing(b)
		}
		if len(b) == afterAck {
			m.loss.NothingToSend()
		}
	case m.hasWork():
		m.loss.HeldBack()
		m.paceAt = next
	}

	if len(b) == afterAck {
		if !acked || !m.acks.IsDue(now) {
			m.publish() // nothing more for now
			return b[:start]
		}
		if ok && m.acks.WantPing() && len(b)+2 <= limit {
			b = m.appendPing(b)
		}
	}
	if acked {
		m.acks.Sent(!m.buildEliciting)
		m.buildItems = append(m.buildItems, item{kind: itemAck, seq: m.acks.Largest()})
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
	m.updateDemand(now)
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
		if r.windowFact.pending() {
			if len(b)+wire.IntsSize(r.id, r.granted) > limit {
				return b
			}
			b = wire.AppendInts(b, wire.ChunkFlowWindow, r.id, r.granted)
			r.windowFact.sent(m.buildPN)
			m.record(item{kind: itemWindow, r: r})
		}
		r.inControl = false
		takeReceiver(&m.controlq)
	}
	return b
}

// Sent records that packet pn has been sent. size is its UDP payload in bytes; driverEliciting says whether the driver
// put a chunk of its own into it that asks for an acknowledgement.
func (m *Mux) Sent(now time.Time, pn uint64, size int, driverEliciting bool) {
	if m.closed {
		return
	}
	eliciting := driverEliciting
	if m.building && pn == m.buildPN {
		m.building = false
		eliciting = eliciting || m.buildEliciting
		m.buildItems = m.loss.Sent(now, pn, size, eliciting, m.buildItems)
	} else {
		m.loss.Sent(now, pn, size, eliciting, nil)
	}
	m.tracePacketSent(now, pn, size, eliciting, false)
}

// SentNote records that packet pn, with nothing in it but chunks of the driver's own, has been sent, and calls
// [Config.Noted] with the note if the peer acknowledges it. A packet that is not eliciting, though it asks for an
// acknowledgement, is not in flight: its loss is no sign of congestion, as it is right for one that takes another path
// than the current. It is remembered only while something is in flight. Nothing of Append's may be in it, and it must
// not come between an Append and its Sent.
func (m *Mux) SentNote(now time.Time, pn uint64, size int, eliciting bool, note uint64) {
	if m.closed {
		return
	}
	m.noteItems = m.loss.Sent(now, pn, size, eliciting, append(m.noteItems[:0], item{kind: itemNote, seq: note}))
	m.tracePacketSent(now, pn, size, eliciting, false)
}

// LargestAcked returns the largest packet number the peer has acknowledged, or -1.
func (m *Mux) LargestAcked() int64 { return m.loss.LargestAcked() }

// Fates returns how many packets were acknowledged, and how many were lost, each while the path by which it had been sent
// was in use; only packets that ask for an acknowledgement count.
func (m *Mux) Fates() (acked, lost uint64) { return m.loss.Fates() }

// PTO returns the probe timeout: how long an answer may reasonably take, the peer's delay included. RFC 9002 §6.2.1.
func (m *Mux) PTO() time.Duration { return m.loss.PTO() }

// RTT returns the smoothed and the least round-trip time of the path. least is zero while there is no measurement.
func (m *Mux) RTT() (smoothed, least time.Duration) { return m.loss.RTT() }
