// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// violation returns the error for a peer that broke a rule.
func violation(code wire.Code, reason string) error {
	return &wire.ProtocolError{Code: code, Reason: reason}
}

func malformed(t wire.ChunkType, err error) error {
	return &wire.ProtocolError{Code: wire.CodeProtocol, Reason: "bad " + t.String() + " chunk", Err: err}
}

// HandleChunk handles an ACK chunk or one of the flow protocol's, from an authentic and not replayed packet. body is
// not retained. An error is a [*wire.ProtocolError]: the peer broke the protocol and the session must be closed.
//
// The packet's chunks are handled in order, then HandlePacketEnd.
func (m *Mux) HandleChunk(now time.Time, t wire.ChunkType, body []byte) error {
	if m.closed {
		return nil
	}
	m.now = now
	if t.IsFlowData() {
		d, err := wire.ParseFlowData(t, body)
		if err != nil {
			return malformed(t, err)
		}
		r, err := m.receiver(d.Flow)
		if r == nil {
			return err
		}
		return m.handleData(r, &d)
	}
	switch t {
	case wire.ChunkAck, wire.ChunkAckECN:
		if m.ackParsed { // hundreds fit a packet, and each takes time
			return nil
		}
		m.ackParsed = true
		if err := m.parsedAck.Parse(t, body); err != nil {
			return malformed(t, err)
		}
		err := m.loss.HandleAck(now, &m.parsedAck)
		m.returnBuffers()
		return err
	case wire.ChunkFlowOpen:
		o, err := wire.ParseFlowOpen(body)
		if err != nil {
			return malformed(t, err)
		}
		return m.handleOpen(&o)
	case wire.ChunkFlowSkip:
		s, err := wire.ParseFlowSkip(body)
		if err != nil {
			return malformed(t, err)
		}
		r, err := m.receiver(s.Flow)
		if r == nil {
			return err
		}
		return m.handleSkip(r, &s)
	case wire.ChunkFlowEnd, wire.ChunkFlowAbort:
		var id, v, used uint64
		if err := wire.ParseInts(body, &id, &v, &used); err != nil {
			return malformed(t, err)
		}
		r, err := m.receiver(id)
		if r == nil {
			return err
		}
		if t == wire.ChunkFlowEnd {
			return m.handleEnd(r, v, used)
		}
		return m.handleAbort(r, v, used)
	case wire.ChunkFlowBlocked:
		var id, limit uint64
		if err := wire.ParseInts(body, &id, &limit); err != nil {
			return malformed(t, err)
		}
		r, err := m.receiver(id)
		if r != nil && limit < r.granted && !r.windowFact.pending() {
			m.tellWindow(r)
		}
		return err
	case wire.ChunkSessionBlocked:
		var limit uint64
		if err := wire.ParseInts(body, &limit); err != nil {
			return malformed(t, err)
		}
		m.recvConsumed += m.readBytes.Swap(0)
		if limit < m.recvLimit || m.recvConsumed+m.recvWindow > m.recvLimit {
			m.limits.set()
			m.updateSessionLimits()
		}
		return nil
	case wire.ChunkFlowReject:
		var id, code uint64
		if err := wire.ParseInts(body, &id, &code); err != nil {
			return malformed(t, err)
		}
		return m.handleReject(id, code)
	case wire.ChunkFlowWindow:
		var id, limit uint64
		if err := wire.ParseInts(body, &id, &limit); err != nil {
			return malformed(t, err)
		}
		return m.handleWindow(id, limit)
	case wire.ChunkSessionLimits:
		var window, flows, message uint64
		if err := wire.ParseInts(body, &window, &flows, &message); err != nil {
			return malformed(t, err)
		}
		m.handleLimits(window, flows, message)
		return nil
	}
	if t.Elective() {
		return nil
	}
	return violation(wire.CodeProtocol, "unknown chunk type")
}

// HandlePacketEnd records that packet pn has been received, its chunks having been handled. eliciting says whether any
// of them, the driver's included, asks for an acknowledgement. ecn is the mark the packet arrived with, NotECT if the
// driver cannot tell.
func (m *Mux) HandlePacketEnd(now time.Time, pn uint64, eliciting bool, ecn wire.ECN) {
	if m.closed {
		return
	}
	m.ackParsed = false
	m.handOut()
	smoothed, least := m.loss.RTT()
	if least == 0 {
		smoothed = 0 // a guess
	}
	m.acks.Received(now, pn, eliciting, ecn, smoothed)
}

// HandleTimeout does what NextTimeout announced. The driver then calls Append until that returns nothing. A driver that
// cannot send yet calls it whenever Wake has been called: deadlines of messages count from when the machine hears of
// them.
//
// now may be before times already told: a driver that is behind with what has arrived says up to when it is through, and
// no timer that would end later is believed.
func (m *Mux) HandleTimeout(now time.Time) {
	if m.closed {
		return
	}
	m.advance(now)
	m.collect()
	m.loss.HandleTimeout(now)
	if !m.probeAt.IsZero() && !m.probeAt.After(now) {
		m.remindBlocked(now)
	}
	m.HandleDeadlines(now)
}

// HandleDeadlines does only what needs no packet: it keeps the deadlines of messages, does what handles have asked for,
// and lets readers wait no longer than they want. A driver that may not send for now calls it in place of HandleTimeout
// and Append, when it would have called those, and when NextDeadline says. "If no additional data can be sent, the server's
// PTO timer MUST NOT be armed until datagrams have been received from the client". RFC 9002 §6.2.2.1.
func (m *Mux) HandleDeadlines(now time.Time) {
	if m.closed {
		return
	}
	m.advance(now)
	m.collect()
	m.expireMessages(now)
	m.passGaps(now)
	m.handOut()
	m.publish()
}

// advance sets the time of the call in progress, which does not go back: what collect finds is new, and its deadlines do
// not count from before it was there.
func (m *Mux) advance(now time.Time) {
	if now.After(m.now) {
		m.now = now
	}
}

// NextDeadline returns when HandleDeadlines should be called next, if nothing happens before; zero: never.
func (m *Mux) NextDeadline() time.Time {
	if m.closed {
		return time.Time{}
	}
	return sooner(m.waitAt, m.nextDeadline())
}

// NextTimeout returns when HandleTimeout and Append should be called next, if nothing happens before; zero: never. An
// acknowledgement that is due stays due until Append is called: a driver that cannot send must not wait for this.
func (m *Mux) NextTimeout() time.Time {
	if m.closed {
		return time.Time{}
	}
	return sooner(m.loss.NextTimeout(), m.acks.NextTimeout(), m.paceAt, m.probeAt, m.waitAt, m.nextDeadline())
}

// sooner returns the earliest of times, of which the zero time is none.
func sooner(times ...time.Time) (t time.Time) {
	for _, u := range times {
		if t.IsZero() || !u.IsZero() && u.Before(t) {
			t = u
		}
	}
	return t
}
