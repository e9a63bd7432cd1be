// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

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
	m.answerSettled(s)
}

// finish lets Close return.
func (s *Sender) finish(err error) {
	s.m.traceClosed(s, err)
	s.done.Lock()
	s.doneErr = err
	s.done.Unlock(true)
}

// failSender abandons everything the flow has not delivered, because of err.
func (m *Mux) failSender(s *Sender, reason Reason, err error) {
	if s.failed {
		return
	}
	s.failed = true
	if p := s.message(s.next); p != nil && p.started {
		m.sendReserved -= uint64(len(p.buf.b) - p.bytesSent())
		m.unreserved = true
	}
	s.next = s.queuedEnd()
	for s.msgs.len() > 0 {
		if p := s.msgs.at(0); !p.done {
			m.settleMessage(s, s.base, p, Abandoned, reason, err)
		}
		s.msgs.pop()
		s.base++
	}
	s.msgs, s.skips, s.keys, s.gaps = queue[sendMsg]{}, queue[skipRun]{}, nil, 0
	s.stats.Queued, s.stats.QueuedBytes, s.stats.InFlight = 0, 0, 0
	s.resend = nil
	s.endFact.clear()
	m.unblock(s)
	m.sessionWait.remove(s)
	s.gate.Lock()
	pending := s.pending
	s.pending, s.taken = nil, nil
	s.buffer(-s.buffered)
	s.freed = 0
	if s.err == nil || errors.Is(s.err, ErrClosed) && !errors.Is(err, ErrClosed) {
		s.err = err
	}
	if w := s.writer; w != nil {
		s.writer = nil
		close(w.turn)
	}
	s.gate.Unlock(true)
	for i, out := range pending {
		// It was sent while the flow failed.
		p := sendMsg{buf: out.buf, receipt: out.receipt, terms: out.terms, ranges: &noFragments}
		m.settleMessage(s, s.base+uint64(i), &p, Abandoned, reason, err)
	}
	s.finish(err)
	m.change(s)
}

// abortSender fails the flow and tells the peer that nothing more will come.
func (m *Mux) abortSender(s *Sender, reason Reason, err error, code uint64) {
	m.failSender(s, reason, err)
	if !s.hasID {
		m.forget(s) // the peer has never heard of it
		m.dropAwaiting(s)
		return
	}
	s.code = code
	s.abortFact.set()
	m.sched.add(s)
}

// handleReject handles the peer's refusal of one of our flows.
func (m *Mux) handleReject(id, code uint64) error {
	s, err := m.sender(id)
	if s == nil {
		return err
	}
	rejected := &RejectedError{Code: code}
	if !s.failed && (!s.ending || s.unsettled()) {
		m.abortSender(s, FlowRejected, rejected, code)
	}
	if code == uint64(wire.CodeFlowOption) || code == uint64(wire.CodeFlowRefused) {
		m.endReturns(s, rejected)
	}
	m.returnBuffers()
	return nil
}
