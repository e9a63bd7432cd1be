// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"

	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A sendMsg is a message that has not been delivered. What must reach the peer is reckoned in units: the bytes of the
// message, and one more for the fact that it ends there. So an empty message has one unit, and a message is delivered
// when all its units are acknowledged.
type sendMsg struct {
	buf     *buffer
	receipt *Receipt
	started bool         // credit for the message itself has been used
	sent    int          // units sent at least once, from the front
	acked   rangeset.Set // units acknowledged
	lost    rangeset.Set // units to be sent again
	done    bool         // delivered
}

func (p *sendMsg) units() int { return len(p.buf.b) + 1 }

// release gives up the message's memory.
func (p *sendMsg) release() {
	p.buf.free()
	p.buf, p.receipt, p.done = nil, nil, true
	p.acked, p.lost = p.acked[:0], p.lost[:0]
}

// message returns message seq, or nil if it is delivered or abandoned.
func (s *Sender) message(seq uint64) *sendMsg {
	if seq < s.base || seq-s.base >= uint64(s.msgs.len()) {
		return nil
	}
	if p := s.msgs.at(int(seq - s.base)); !p.done {
		return p
	}
	return nil
}

// queuedEnd returns the number following the last queued message.
func (s *Sender) queuedEnd() uint64 { return s.base + uint64(s.msgs.len()) }

// collectSender takes over what has happened to s.
func (m *Mux) collectSender(s *Sender) {
	s.gate.Lock()
	s.ready = false
	s.taken, s.pending = s.pending, s.taken[:0]
	announced, closing, aborted, code := s.announced, s.closing, s.aborted, s.abortCode
	settled := s.failed || s.ending && !s.unsettled()
	s.gate.Unlock(s.writable())

	if _, ok := m.senders[s]; !ok && !settled {
		m.senders[s] = struct{}{}
	}
	s.announce = s.announce || announced
	for i, out := range s.taken {
		s.taken[i] = outgoing{}
		if s.failed {
			// It was sent while the flow failed.
			out.receipt.resolve(Abandoned, ErrClosed)
			out.buf.free()
			continue
		}
		p := s.msgs.push()
		*p = sendMsg{buf: out.buf, receipt: out.receipt, acked: p.acked[:0], lost: p.lost[:0]}
	}
	switch {
	case s.failed:
	case aborted && !settled:
		m.abortSender(s, ErrClosed, code)
	case closing:
		s.ending = true
		if !s.endFact.isSet() {
			s.endFact.set()
		}
	}
	if s.returns > 0 && s.returnsClosed() {
		s.returns = 0
		if s.hasID && (s.failed || s.ending && !s.unsettled()) {
			delete(m.sendersByID, s.open.Flow)
		}
	}
	if s.sendable() && !m.closed {
		m.sched.add(s)
	}
}

func (s *Sender) returnsClosed() bool {
	s.returnGate.Lock()
	closed := s.returnErr != nil
	s.returnGate.Unlock(closed || s.returnq.len() > 0)
	return closed
}

// sendable reports whether there may be something to send.
func (s *Sender) sendable() bool {
	if s.failed {
		return s.abortFact.pending()
	}
	return s.endFact.pending() || len(s.resend) > 0 || s.next < s.queuedEnd() ||
		s.announce && !s.openFact.isSet() || s.openFact.pending()
}

// unsettled reports whether the peer is not known to have everything.
func (s *Sender) unsettled() bool {
	if s.failed {
		return s.abortFact.unsettled()
	}
	return s.msgs.len() > 0 || s.endFact.unsettled() || s.openFact.unsettled() || s.announce && !s.openFact.isSet()
}

// dataAcked records that the peer has units [a, b) of message seq.
func (m *Mux) dataAcked(s *Sender, seq uint64, a, b int) {
	p := s.message(seq)
	if p == nil {
		return
	}
	if a > 0 || b < p.units() || len(p.acked) > 0 {
		before := int(p.acked.Size())
		p.acked.Add(uint64(a), uint64(b))
		size := int(p.acked.Size())
		if len(p.lost) > 0 {
			p.lost.Remove(uint64(a), uint64(b))
			if len(p.lost) == 0 {
				s.resend.Remove(seq, seq+1)
			}
		}
		if size < p.units() {
			m.free(s, size-before)
			return
		}
		m.free(s, size-before-1) // the last unit is no byte
	} else {
		m.free(s, b-1)
		if len(p.lost) > 0 {
			s.resend.Remove(seq, seq+1)
		}
	}
	m.free(s, wire.MessageCost)
	p.receipt.resolve(Delivered, nil)
	p.release()
	m.count.MessagesDelivered++
	for s.msgs.len() > 0 && s.msgs.at(0).done {
		s.msgs.pop()
		s.base++
	}
	m.maybeFinish(s)
}

// dataLost arranges for units [a, b) of message seq to be sent again, as far as they have not arrived.
func (m *Mux) dataLost(s *Sender, seq uint64, a, b int) {
	p := s.message(seq)
	if p == nil {
		return
	}
	p.lost.Add(uint64(a), uint64(b))
	for _, r := range p.acked {
		p.lost.Remove(r.Start, r.End)
	}
	if len(p.lost) > 0 {
		s.resend.Add(seq, seq+1)
		m.sched.add(s)
	}
}

// free notes that n bytes no longer wait in the flow's buffer.
func (m *Mux) free(s *Sender, n int) {
	s.freed += n
	if !s.freeing {
		s.freeing = true
		m.freed = append(m.freed, s)
	}
}

// returnBuffers lets Send know of the space that an acknowledgement has freed.
func (m *Mux) returnBuffers() {
	for i, s := range m.freed {
		s.gate.Lock()
		s.buffered -= s.freed
		s.gate.Unlock(s.writable())
		s.freed, s.freeing = 0, false
		m.freed[i] = nil
	}
	m.freed = m.freed[:0]
}

// maybeFinish settles an orderly end once the peer has everything.
func (m *Mux) maybeFinish(s *Sender) {
	if !s.failed && s.ending && !s.unsettled() {
		m.forget(s)
		s.finish(nil)
	}
}

// forget drops a flow of which nothing is to be told any more. If answers may still come, its ID is remembered.
func (m *Mux) forget(s *Sender) {
	delete(m.senders, s)
	m.unblock(s)
	if s.returns == 0 && s.hasID {
		delete(m.sendersByID, s.open.Flow)
	}
}

// finish lets Close return.
func (s *Sender) finish(err error) {
	s.done.Lock()
	s.doneErr = err
	s.done.Unlock(true)
}

// failSender abandons everything the flow has not delivered, because of err.
func (m *Mux) failSender(s *Sender, err error) {
	if s.failed {
		return
	}
	s.failed = true
	if p := s.message(s.next); p != nil && p.started {
		m.sendReserved -= uint64(p.units() - 1 - p.sent)
	}
	s.base = s.queuedEnd()
	s.next = s.base
	for s.msgs.len() > 0 {
		if p := s.msgs.pop(); !p.done {
			p.receipt.resolve(Abandoned, err)
			p.release()
			m.count.MessagesAbandoned++
		}
	}
	s.resend = nil
	s.endFact.clear()
	m.unblock(s)
	s.gate.Lock()
	pending := s.pending
	s.pending, s.taken = nil, nil
	if s.err == nil || errors.Is(s.err, ErrClosed) && !errors.Is(err, ErrClosed) {
		s.err = err
	}
	s.gate.Unlock(true)
	for _, out := range pending {
		out.receipt.resolve(Abandoned, err)
		out.buf.free()
		m.count.MessagesAbandoned++
	}
	s.finish(err)
	m.unblockSession() // what it had reserved is free
}

// abortSender fails the flow and tells the peer that nothing more will come.
func (m *Mux) abortSender(s *Sender, err error, code uint64) {
	m.failSender(s, err)
	if !s.hasID {
		m.forget(s) // the peer has never heard of it
		m.dropAwaiting(s)
		return
	}
	s.code = code
	s.abortFact.set()
	m.sched.add(s)
}

// dropAwaiting notes that a flow no longer waits for an ID. The dead are cleared out when they are the majority.
func (m *Mux) dropAwaiting(s *Sender) {
	if !s.awaiting {
		return
	}
	if m.awaitingDead++; 2*m.awaitingDead <= m.awaitingID.len() {
		return
	}
	var living queue[*Sender]
	for i := range m.awaitingID.len() {
		if w := *m.awaitingID.at(i); !w.failed {
			*living.push() = w
		}
	}
	m.awaitingID, m.awaitingDead = living, 0
}

// handleReject handles the peer's refusal of one of our flows.
func (m *Mux) handleReject(id, code uint64) error {
	s, err := m.sender(id)
	if s == nil || s.failed || s.ending && !s.unsettled() {
		return err
	}
	m.abortSender(s, &RejectedError{Code: code}, code)
	return nil
}

// sender returns our flow with the given ID, or nil if it is over. The error is the peer's, if it never existed.
func (m *Mux) sender(id uint64) (*Sender, error) {
	if id >= m.nextID {
		return nil, violation(wire.CodeFlowState, "chunk about a flow that was never opened")
	}
	return m.sendersByID[id], nil
}

// handleWindow handles credit for one of our flows.
func (m *Mux) handleWindow(id, limit uint64) error {
	s, err := m.sender(id)
	if s == nil || limit <= s.flowLimit {
		return err // credit is never taken back
	}
	s.flowLimit = limit
	m.unblock(s)
	return nil
}

// handleLimits handles credit for all our flows.
func (m *Mux) handleLimits(window, flows, message uint64) {
	m.peerMaxMessage.Store(int64(max(1, min(message, 1<<30))))
	m.peerFlows = max(m.peerFlows, flows)
	for m.awaitingID.len() > 0 && m.nextID < m.peerFlows {
		slot := m.awaitingID.pop()
		s := *slot
		*slot = nil
		s.awaiting = false
		if s.failed {
			m.awaitingDead--
		}
		if s.sendable() {
			m.assignID(s)
			m.sched.add(s)
		}
	}
	if window > m.sendLimit {
		m.sendLimit = window
		m.unblockSession()
	}
}

func (m *Mux) assignID(s *Sender) {
	s.hasID = true
	s.open.Flow = m.nextID
	m.nextID++
	m.sendersByID[s.open.Flow] = s
}
