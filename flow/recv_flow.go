// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"io"
	"slices"

	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A recvMsg is a message that is not complete, or is behind one that is not.
type recvMsg struct {
	buf   []byte       // bytes up to the highest received; those not received are zero
	have  rangeset.Set // bytes received
	total int          // length of the message, or -1 while it is not known
}

func (p *recvMsg) complete() bool { return p.total >= 0 && p.have.Covers(0, uint64(p.total)) }

// extra is how many pieces p has beyond the first, which wire.MessageCost pays for.
func (p *recvMsg) extra() int { return max(len(p.have)-1, 0) }

// cost is the credit p has used so far.
func (p *recvMsg) cost() uint64 { return uint64(len(p.buf)) + wire.MessageCost }

// store adds a fragment that ends within the limits.
func (p *recvMsg) store(off int, data []byte) {
	end := off + len(data)
	if end > len(p.buf) {
		if end > cap(p.buf) {
			size := end
			if p.total < 0 {
				size = 2 * end // at most twice of what the peer has used credit for
			}
			p.buf = slices.Grow(p.buf, size-len(p.buf))
		}
		old := len(p.buf)
		p.buf = p.buf[:end]
		clear(p.buf[old:max(off, old)])
	}
	copy(p.buf[off:], data)
	p.have.Add(uint64(off), uint64(end))
}

// receiver returns the peer's flow with the given ID, or nil if it is over. The error is the peer's, if it has not opened
// the flow.
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
	r := &Receiver{
		m: m, id: o.Flow, label: string(o.Label), metadata: append([]byte(nil), o.Metadata...), stream: o.Stream,
		granted: wire.InitialFlowWindow,
	}
	m.receivers[o.Flow] = r
	m.count.FlowsAccepted++
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

// use accounts for credit the peer has used.
func (m *Mux) use(r *Receiver, n uint64) error {
	if n > r.granted-r.used {
		return violation(wire.CodeFlowControl, "more than the flow's credit")
	}
	if n > m.recvLimit-m.recvUsed {
		return violation(wire.CodeFlowControl, "more than the session's credit")
	}
	if r.hasEnd && r.used+n > r.endUsed {
		return violation(wire.CodeFlowState, "flow used more than it said")
	}
	r.used += n
	m.recvUsed += n
	return nil
}

// handleData handles a fragment.
func (m *Mux) handleData(r *Receiver, d *wire.FlowData) error {
	if r.hasEnd && d.Seq >= r.endSeq {
		return violation(wire.CodeFlowState, "message after the end of its flow")
	}
	if d.Seq < r.next || r.refusing {
		m.count.BytesDuplicate += uint64(len(d.Data))
		return nil // a duplicate, or not wanted
	}
	if d.Offset+uint64(len(d.Data)) > uint64(m.config.maxMessage()) {
		m.refuse(r, wire.CodeFlowMessageSize, ErrTooLarge)
		return nil
	}
	off, end := int(d.Offset), int(d.Offset)+len(d.Data)
	p := r.messages[d.Seq]
	if p == nil {
		if d.Seq < r.forward {
			return nil // abandoned
		}
		if err := m.use(r, uint64(end)+wire.MessageCost); err != nil {
			return err
		}
		if d.Seq == r.next && off == 0 && d.End {
			// The common case: whole and in order.
			m.deliver(r, slices.Clone(d.Data))
			m.handOver(r)
			return m.afterData(r)
		}
		if r.messages == nil {
			r.messages = make(map[uint64]*recvMsg)
		}
		p = m.newMessage()
		r.messages[d.Seq] = p
	} else {
		if p.total >= 0 && (end > p.total || d.End && end != p.total) || d.End && end < len(p.buf) {
			return violation(wire.CodeFlowState, "message with two ends")
		}
		if end > len(p.buf) {
			if err := m.use(r, uint64(end-len(p.buf))); err != nil {
				return err
			}
		}
	}
	if d.End {
		p.total = end
	}
	m.count.BytesDuplicate += p.have.Count(d.Offset, d.Offset+uint64(len(d.Data)))
	m.pieces -= p.extra()
	p.store(off, d.Data)
	m.pieces += p.extra()
	if len(p.have) > maxPieces || m.pieces > maxSessionPieces {
		// Nobody who means well loses that many packets at once.
		return violation(wire.CodeFlowControl, "messages in too many pieces")
	}
	m.handOver(r)
	return m.afterData(r)
}

// The pieces of incomplete messages that wait for what is between them take memory that credit does not account for.
const (
	maxPieces        = 8192    // of one message
	maxSessionPieces = 1 << 16 // of all
)

// newMessage returns an empty message.
func (m *Mux) newMessage() *recvMsg {
	if n := len(m.spare); n > 0 {
		p := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return p
	}
	return &recvMsg{total: -1}
}

// freeMessage takes back a message whose bytes have been handed over or dropped.
func (m *Mux) freeMessage(p *recvMsg) {
	m.pieces -= p.extra()
	if len(m.spare) < 64 && cap(p.have) <= 64 {
		*p = recvMsg{have: p.have[:0], total: -1}
		m.spare = append(m.spare, p)
	}
}

// handOver delivers the complete messages at the front.
func (m *Mux) handOver(r *Receiver) {
	for len(r.messages) > 0 {
		p := r.messages[r.next]
		if p == nil || !p.complete() {
			return
		}
		delete(r.messages, r.next)
		m.deliver(r, p.buf)
		m.freeMessage(p)
	}
}

// deliver hands over message r.next.
func (m *Mux) deliver(r *Receiver, data []byte) {
	if data == nil {
		data = []byte{}
	}
	cost := uint64(len(data)) + wire.MessageCost
	r.handedOver += cost
	m.count.MessagesReceived++
	m.count.BytesReceived += uint64(len(data))
	r.gate.Lock()
	if r.rejected {
		r.consumed += cost
		m.readBytes.Add(cost)
	} else {
		*r.queue.push() = Message{Data: data, Seq: r.next}
	}
	r.gate.Unlock(r.readable())
	r.next++
}

// afterData completes the flow or grants more credit, as what has arrived demands.
func (m *Mux) afterData(r *Receiver) error {
	if r.hasEnd && r.next == r.endSeq {
		if r.used != r.endUsed {
			return violation(wire.CodeFlowState, "flow used less than it said")
		}
		m.completeReceiver(r, io.EOF)
		return nil
	}
	m.updateWindow(r)
	return nil
}

// updateWindow grants credit on a flow if enough has been freed.
func (m *Mux) updateWindow(r *Receiver) {
	window := m.config.recvWindow()
	left, least := r.granted-r.used, window/2
	if r.granted == wire.InitialFlowWindow {
		least = wire.InitialFlowWindow * 3 / 4 // most flows are short and need no more than they start with
	}
	if left >= least || r.hasEnd || r.refusing || r.settled {
		return
	}
	want := r.freed + window
	// A message that is being assembled at the front does not count, or one larger than the window could never
	// arrive. The session's credit bounds it.
	if p := r.messages[r.next]; p != nil {
		want += p.cost()
	}
	if want > r.granted {
		r.granted = want
		m.tellWindow(r)
	}
}

func (m *Mux) tellWindow(r *Receiver) {
	r.window.set()
	m.control(r)
}

// control queues r for what it has to tell the sender.
func (m *Mux) control(r *Receiver) {
	if !r.inControl && !m.closed {
		r.inControl = true
		*m.controlq.push() = r
	}
}

// updateSessionLimits grants credit to all flows together, and new flows, if enough has been freed.
func (m *Mux) updateSessionLimits() {
	window, flows := m.recvConsumed+m.config.sessionWindow(), m.retired+m.config.maxIncomingFlows()
	if window >= m.recvLimit+m.config.sessionWindow()/8 || flows >= m.flowLimit+m.config.maxIncomingFlows()/8 ||
		m.limits.pending() {
		m.recvLimit, m.flowLimit = max(m.recvLimit, window), max(m.flowLimit, flows)
		m.limits.set()
	}
}

// collectReceiver takes over what the application has done with r.
func (m *Mux) collectReceiver(r *Receiver) {
	r.gate.Lock()
	r.ready = false
	r.freed += r.consumed
	r.consumed = 0
	rejected, code := r.rejected, r.code
	retire := r.complete && !r.retired && r.settled && r.taken && r.queue.len() == 0 && !r.reject.unsettled()
	r.retired = r.retired || retire
	r.gate.Unlock(r.readable())
	if retire {
		m.retired++
	}
	if rejected && !r.settled {
		m.refuse(r, wire.Code(code), ErrClosed)
	}
	m.updateWindow(r)
}
