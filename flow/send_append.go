// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// minFragment is the least part of a message worth a chunk, if it is not the rest of it.
const minFragment = 32

// appendFlow appends what s has to send. more says that the packet is full before s was done; otherwise s has nothing
// it may send at the moment.
func (m *Mux) appendFlow(s *Sender, b []byte, limit int) (_ []byte, more bool) {
	if !s.sendable() {
		return b, false
	}
	if !s.hasID {
		// IDs are given when they are first needed, so that the peer sees them without gaps.
		// Those that answer come first, or two ends that wait for each other's answers might wait for ever.
		if line := m.awaitingLine(s); m.nextID >= m.peerFlows || line.len() > 0 {
			if !s.awaiting {
				s.awaiting = true
				*line.push() = s
			}
			return b, false
		}
		m.assignID(s)
	}
	start, items := len(b), len(m.buildItems)
	if !s.openFact.known() {
		if len(b)+s.open.Size() > limit {
			return b, true
		}
		b = s.open.Append(b)
	}
	afterOpen := len(b)

	b, more = m.appendSkips(s, b, limit)
	if !more {
		b, more = m.appendMessages(s, b, limit)
	}
	if !more {
		b, more = m.appendSkips(s, b, limit) // that those made due
	}
	if !more && s.endFact.pending() && s.next == s.queuedEnd() {
		b, more = m.appendEnd(s, b, limit, wire.ChunkFlowEnd, s.queuedEnd(), &s.endFact, itemEnd)
	}
	if s.abortFact.pending() {
		b, more = m.appendEnd(s, b, limit, wire.ChunkFlowAbort, s.code, &s.abortFact, itemAbort)
	}

	if afterOpen == start {
		return b, more
	}
	if len(b) == afterOpen && (more || !s.openFact.pending() && !(s.announce && !s.openFact.isSet())) {
		// The opening alone says nothing that is worth a packet.
		m.buildItems = m.buildItems[:items]
		return b[:start], more
	}
	if !s.openFact.isSet() {
		s.begun.Store(true)
	}
	s.openFact.sent(m.buildPN)
	m.record(item{kind: itemOpen, s: s})
	return b, more
}

// appendEnd appends FLOW_END or FLOW_ABORT.
func (m *Mux) appendEnd(s *Sender, b []byte, limit int, t wire.ChunkType, v uint64, f *fact, kind itemKind) ([]byte, bool) {
	if len(b)+wire.IntsSize(s.open.Flow, v, s.flowUsed) > limit {
		return b, true
	}
	b = wire.AppendInts(b, t, s.open.Flow, v, s.flowUsed)
	f.sent(m.buildPN)
	m.record(item{kind: kind, s: s})
	return b, false
}

// appendMessages appends fragments: first what is lost, then what is new and within the credit.
func (m *Mux) appendMessages(s *Sender, b []byte, limit int) (_ []byte, full bool) {
	for len(s.resend) > 0 {
		seq := s.resend[0].Start
		p := s.message(seq)
		if p == nil || len(p.ranges.lost) == 0 {
			s.resend.Remove(seq, seq+1)
			continue
		}
		start, end, times := int(p.ranges.lost[0].Start), int(p.ranges.lost[0].End), 0
		if p.terms != nil && p.terms.counts() {
			times, end = p.terms.timesSent(start, end)
		}
		var n int
		tx := min(times+1, maxTransmits)
		if b, n = m.appendFragment(s, p, seq, start, end, tx, b, limit); n == 0 {
			return b, true
		}
		if times > 0 {
			p.terms.sendAgain(start, start+n, tx)
		}
		p.ranges.lost.Remove(uint64(start), uint64(start+n))
		s.stats.Retransmitted++
		s.stats.RetransmittedBytes += uint64(min(start+n, len(p.buf.b)) - min(start, len(p.buf.b)))
	}
	for s.next < s.queuedEnd() {
		p := s.message(s.next) // never nil: next passes over what is done
		credit, ok := m.credit(s, p)
		if !ok {
			return b, false
		}
		end := p.sent + min(p.units()-p.sent, credit)
		if end == p.units()-1 {
			end++ // the last unit needs no credit
		}
		was := p.sent
		var n int
		if b, n = m.appendFragment(s, p, s.next, was, end, 1, b, limit); n == 0 {
			return b, true
		}
		m.useCredit(s, p, n)
		if p.sent == p.units() {
			s.next++
			s.passOver()
			continue
		}
		if p.sent < end {
			return b, true
		}
	}
	return b, false
}

// appendFragment appends units [a, e) of message seq, or as many as fit, as transmission tx, and returns how many those
// are.
func (m *Mux) appendFragment(s *Sender, p *sendMsg, seq uint64, a, e, tx int, b []byte, limit int) ([]byte, int) {
	d := wire.FlowData{Flow: s.open.Flow, Seq: seq, Offset: uint64(a)}
	size := len(p.buf.b)
	want := min(e, size) - a
	n := min(want, d.Room(limit-len(b)))
	if n < 0 || n < want && n < minFragment {
		return b, 0
	}
	d.Data = p.buf.b[a : a+n]
	d.End = a+n == size
	if d.End {
		n++
		d.More = p.terms != nil && p.terms.more
	}
	b = d.Append(b)
	m.record(item{kind: itemData, s: s, seq: seq, a: a, b: a + n, tx: uint8(tx)})
	if s.level <= Urgent.level() {
		m.urgentSent = m.now
	}
	m.count.BytesSent += uint64(len(d.Data))
	return b, n
}

// credit returns how many bytes of the flow's next message may be sent. If none may, the flow is noted as blocked.
func (m *Mux) credit(s *Sender, p *sendMsg) (n int, ok bool) {
	size, left := uint64(p.units()-1), s.flowLimit-s.flowUsed
	if p.started {
		if left == 0 && p.sent < p.units()-1 {
			m.block(s)
			return 0, false
		}
		return int(min(left, 1<<30)), true
	}
	// The peer may have taught us of its limit after the message was queued.
	if peer := m.peerMaxMessage.Load(); peer > 0 && size > uint64(peer) {
		m.abortSender(s, FlowAborted, ErrTooLarge, uint64(wire.CodeFlowMessageSize))
		m.endReturns(s, ErrTooLarge)
		return 0, false
	}
	// A message is begun only if the session's credit suffices for all of it and what other flows have begun. Else all
	// of it might go into messages none of which can ever be completed. docs/PROTOCOL.md §Credit.
	if need := size + wire.MessageCost; need > m.sessionCredit() {
		m.await(s, need)
		return 0, false
	}
	m.sessionWait.remove(s)
	if left < wire.MessageCost || left == wire.MessageCost && size > 0 {
		m.block(s)
		return 0, false
	}
	return int(min(left-wire.MessageCost, 1<<30)), true
}

// useCredit accounts for n more units of the flow's next message.
func (m *Mux) useCredit(s *Sender, p *sendMsg, n int) {
	size := p.units() - 1
	if !p.started {
		p.started = true
		s.flowUsed += wire.MessageCost
		m.sendUsed += wire.MessageCost
		m.sendReserved += uint64(size)
		m.count.MessagesSent++
		s.stats.Queued--
		s.stats.Sent++
		m.traceMessageSent(s, size)
		if p.terms != nil {
			m.startTerms(p.terms)
		}
	}
	bytes := uint64(min(p.sent+n, size) - min(p.sent, size))
	if p.sent += n; p.sent > size && (p.terms == nil || !p.terms.more) {
		p.receipt.sent.Store(true)
	}
	s.flowUsed += bytes
	m.sendUsed += bytes
	m.sendReserved -= bytes
	s.stats.QueuedBytes -= int(bytes)
	s.stats.InFlight += int(bytes)
}
