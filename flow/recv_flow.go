// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// receiver returns the peer's flow with the given ID, or nil if it is over. The error is the peer's, if it has not
// opened the flow.
func (m *Mux) receiver(id uint64) (*Receiver, error) {
	if r := m.lastReceiver; r != nil && r.id == id {
		return r, nil
	}
	if r := m.receivers[id]; r != nil {
		m.lastReceiver = r
		return r, nil
	}
	if m.finished.Contains(id) {
		return nil, nil
	}
	return nil, violation(wire.CodeFlowState, "chunk of a flow that has not been opened")
}

// handleOpen handles a flow's opening, which comes again until it is acknowledged.
func (m *Mux) handleOpen(o *wire.FlowOpen) error {
	if m.receivers[o.Flow] != nil || m.finished.Contains(o.Flow) {
		return nil
	}
	if o.Flow >= m.flowLimit {
		return violation(wire.CodeFlowLimit, "flow opened beyond the limit")
	}
	r := m.newReceiver(o)
	m.receivers[o.Flow] = r
	if o.Flow >= m.topFlow {
		m.topFlow = o.Flow + 1
		m.updateSessionLimits()
	}
	m.count.FlowsAccepted++
	if f := m.trace.FlowOpened; f != nil {
		f(Opened{m.now, Ref{r.id, true}, r.label, r.priority, r.stream})
	}
	switch {
	case o.UnknownCritical:
		r.taken = true
		m.refuse(r, wire.CodeFlowOption, ErrClosed)
	case o.HasAnswers:
		s := m.sendersByID[o.Answers]
		if s == nil || s.returns == 0 || !s.giveReturn(r) {
			r.taken = true
			m.refuse(r, wire.CodeFlowAnswer, ErrClosed)
			return nil
		}
		if s.promised > 0 { // the place that it takes is its own until it is over
			s.promised--
			r.promised = true
		}
		if s.returns--; s.returns == 0 {
			s.closeReturns(ErrClosed)
			if s.failed || s.ending && !s.unsettled() {
				delete(m.sendersByID, o.Answers)
			}
		}
	default:
		m.acceptGate.Lock()
		*m.acceptq.push() = r
		m.acceptGate.Unlock(true)
	}
	return nil
}

// giveReturn hands an answer to AcceptReturn, unless no more are wanted.
func (s *Sender) giveReturn(r *Receiver) bool {
	s.returnGate.Lock()
	ok := s.returnErr == nil
	if ok {
		*s.returnq.push() = r
	}
	s.returnGate.Unlock(s.returnq.len() > 0 || s.returnErr != nil)
	return ok
}

// handleData handles a fragment.
func (m *Mux) handleData(r *Receiver, d *wire.FlowData) error {
	if r.hasEnd && d.Seq >= r.endSeq {
		return violation(wire.CodeFlowState, "message after the end of its flow")
	}
	m.touch(r)
	if r.refusing || r.settledNumber(d.Seq) {
		m.countDuplicate(r, len(d.Data))
		return nil // a duplicate, skipped, or not wanted
	}
	if d.Offset+uint64(len(d.Data)) > uint64(m.config.maxMessage()) {
		m.refuse(r, wire.CodeFlowMessageSize, ErrTooLarge)
		return nil
	}
	if r.urgent {
		m.urgentReceived = m.now
	}
	r.top = max(r.top, d.Seq+1)
	off, end := int(d.Offset), int(d.Offset)+len(d.Data)
	p := r.table.get(r.base, d.Seq)
	if p == nil {
		if err := m.use(r, uint64(end)+wire.MessageCost); err != nil {
			return err
		}
		if off == 0 && d.End && r.mayPass(d.Seq) {
			// The common case: whole and in order.
			if err := m.deliver(r, Message{Seq: d.Seq, More: d.More, at: m.clock(m.now)}, copyBuffer(d.Data)); err != nil {
				return err
			}
			m.handOver(r)
			return m.afterData(r)
		}
		p = m.newMessage()
		r.table.put(r.base, d.Seq, p)
	} else {
		if p.total >= 0 && (end > p.total || d.End && (end != p.total || d.More != p.more)) || d.End && end < p.high() {
			return violation(wire.CodeFlowState, "message with two ends")
		}
		if p.complete() { // or it would wait anew
			m.countDuplicate(r, len(d.Data))
			return nil
		}
		if high := p.high(); end > high {
			if err := m.use(r, uint64(end-high)); err != nil {
				return err
			}
		}
	}
	if d.End {
		p.total, p.more = end, d.More
	}
	if d.Seq < r.floor {
		if err := m.outdate(r, d.Seq, p, max(p.high(), end)); err != nil {
			return err
		}
		m.handOver(r)
		return m.afterData(r)
	}
	m.pieces -= p.extra()
	m.countDuplicate(r, m.store(r, p, off, d.Data))
	m.pieces += p.extra()
	if len(p.have) > maxPieces || m.pieces > maxSessionPieces {
		// Nobody who means well loses that many packets at once.
		return violation(wire.CodeFlowControl, "messages in too many pieces")
	}
	if p.complete() {
		if err := m.completed(r, d.Seq, p); err != nil {
			return err
		}
	}
	return m.afterData(r)
}

// countDuplicate counts bytes that were received again.
func (m *Mux) countDuplicate(r *Receiver, n int) {
	r.count.Duplicate += uint64(n)
	m.count.BytesDuplicate += uint64(n)
}

// The pieces of incomplete messages that wait for what is between them take memory that credit does not account for,
// and so do the numbers of messages that were handed over or skipped before others.
const (
	maxPieces        = 8192    // of one message, or ranges of numbers of one flow
	maxSessionPieces = 1 << 16 // of all
)

// completed hands a message over that is complete now, or holds it until those before it are.
func (m *Mux) completed(r *Receiver, seq uint64, p *recvMsg) error {
	if !r.mayPass(seq) {
		m.hold(r, seq, p)
		return nil
	}
	if err := m.deliverHeld(r, seq, p); err != nil {
		return err
	}
	m.handOver(r)
	return nil
}

// handOver delivers the complete messages at the front of an ordered flow.
func (m *Mux) handOver(r *Receiver) {
	for r.table.n > 0 {
		p := r.table.get(r.base, r.front)
		if p == nil || !p.complete() {
			return
		}
		_ = m.deliverHeld(r, r.front, p) // adds no range of numbers: what is behind the front has them all
	}
	r.waitAt = 0
}

// deliverHeld delivers a complete message of the table.
func (m *Mux) deliverHeld(r *Receiver, seq uint64, p *recvMsg) error {
	r.table.remove(r.base, seq)
	buf, msg := p.buf, Message{Seq: seq, More: p.more, cut: p.cut, at: p.at}
	if buf == nil {
		buf = newBuffer(0)
	}
	if msg.at == 0 { // it did not have to wait
		msg.at = m.clock(m.now)
	}
	p.buf = nil
	m.freeMessage(p)
	return m.deliver(r, msg, buf)
}

// deliver hands over a message with what is in buf, at the end of the packet.
func (m *Mux) deliver(r *Receiver, msg Message, buf *buffer) error {
	n, seq := len(buf.b), msg.Seq
	late := seq < r.front && r.ordering == Ordered
	msg.Data, msg.Late = buf.b[:n:n], late
	if n > 0 { // else it is everybody's
		msg.buf, msg.lease = buf, buf.lease.Load()
	}
	*r.out.push() = msg
	r.lastSize = n
	r.count.Messages++
	r.count.Bytes += uint64(n)
	if late {
		r.count.Late++
	}
	m.count.MessagesReceived++
	if f := m.trace.MessageReceived; f != nil {
		f(MessageReceived{m.now, Ref{r.id, true}, seq, n})
	}
	m.count.BytesReceived += uint64(n)
	if seq == r.front {
		r.front++
	}
	if err := m.settleNumber(r, seq); err != nil || r.ordering != Latest {
		return err
	}
	return m.raiseFloor(r, seq+1)
}

// settledNumber reports whether message seq has been handed over, skipped or outdated.
func (r *Receiver) settledNumber(seq uint64) bool {
	return seq < r.base || len(r.gone) > 0 && r.gone.Contains(seq)
}

// settleNumber notes that message seq has been handed over, skipped or outdated.
func (m *Mux) settleNumber(r *Receiver, seq uint64) error {
	if seq == r.base {
		r.base++
		if len(r.gone) > 0 && r.gone[0].Start == r.base {
			r.base = r.gone[0].End
			r.gone.Remove(0, r.base)
			m.pieces--
		}
		r.front = max(r.front, r.base)
		if r.front == r.base {
			return nil
		}
	} else {
		m.pieces -= len(r.gone)
		r.gone.Add(seq, seq+1)
		m.pieces += len(r.gone)
		if len(r.gone) > maxPieces || m.pieces > maxSessionPieces {
			return violation(wire.CodeFlowControl, "messages with too many gaps")
		}
	}
	r.front = r.gone.Next(r.front)
	return nil
}

// afterData completes the flow or grants more credit, as what has arrived demands.
func (m *Mux) afterData(r *Receiver) error {
	if r.hasEnd && r.base == r.endSeq {
		return m.endReached(r)
	}
	m.updateWindow(r)
	return nil
}

// touch notes that r has something for its handle when the packet has been handled.
func (m *Mux) touch(r *Receiver) {
	if !r.touched {
		r.touched = true
		m.touched = append(m.touched, r)
	}
}

// handOut makes visible to the handles what has been handed over since the last time. It is done once per packet, so
// that a reader is not woken for each of many small messages.
func (m *Mux) handOut() {
	for i, r := range m.touched {
		m.touched[i] = nil
		r.touched = false
		m.handOutTo(r)
		if r.floor > 0 { // what is outdated is free without having been read
			m.updateWindow(r)
			m.updateSessionLimits()
		}
	}
	m.touched = m.touched[:0]
}

func (m *Mux) handOutTo(r *Receiver) {
	r.count.Granted, r.count.Used, r.count.Window = r.granted, r.used, int(r.window)
	r.count.freed = r.freed
	r.gate.Lock()
	r.stats = r.count
	if !r.rejected {
		r.out.moveTo(&r.queue)
	}
	var outdated uint64
	if r.wanted == Latest && !r.finishing {
		outdated = r.keepLatest()
	}
	m.giveBack(r, outdated+r.dropAndUnlock(&r.out))
}

// dropAndUnlock drops the messages of q, unlocks the gate and returns their credit.
func (r *Receiver) dropAndUnlock(q *messageQueue) (credit uint64) {
	for q.len() > 0 {
		msg := q.pop()
		credit += msg.cost()
		msg.Release()
	}
	r.gate.Unlock(r.readable())
	return credit
}
