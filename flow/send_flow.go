// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"math"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// collectSender takes over what has happened to s.
func (m *Mux) collectSender(s *Sender) {
	s.gate.Lock()
	s.ready = false
	s.taken, s.pending = s.pending, s.taken[:0]
	announced, closing, aborted, code := s.announced, s.closing && s.writer == nil, s.aborted, s.abortCode
	level := s.wantLevel
	settled := s.failed || s.ending && !s.unsettled()
	s.gate.Unlock(s.writable())

	if _, ok := m.senders[s]; !ok && !settled {
		m.senders[s] = struct{}{}
	}
	s.announce = s.announce || announced
	if level != s.level {
		m.sessionWait.remove(s) // to stand in the other line, if it has to
		m.sched.move(s, level)
	}
	if len(s.taken) > 0 {
		m.collectMessages(s)
	}
	switch {
	case s.failed:
	case aborted && !settled:
		m.abortSender(s, FlowAborted, ErrClosed, code)
	case closing:
		s.ending = true
		if !s.endFact.isSet() {
			s.endFact.set()
		}
	}
	if s.returns > 0 && s.returnsClosed() {
		m.expectNone(s)
	}
	if s.sendable() && !m.closed {
		m.sched.add(s)
	}
}

// collectMessages takes over the messages that Send has queued.
func (m *Mux) collectMessages(s *Sender) {
	now := m.clock(m.now)
	for i, out := range s.taken {
		s.taken[i] = outgoing{}
		m.queueMessage(s, out, now)
	}
	if cap(s.taken) > maxIdleRing {
		s.taken = nil
	}
	s.passOver()
	m.change(s)
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
	return s.endFact.pending() || len(s.resend) > 0 || s.next < s.queuedEnd() || s.skips.len() > 0 ||
		s.announce && !s.openFact.isSet() || s.openFact.pending()
}

// unsettled reports whether the peer is not known to have everything.
func (s *Sender) unsettled() bool {
	if s.failed {
		return s.abortFact.unsettled()
	}
	return s.msgs.len() > 0 || s.endFact.unsettled() || s.openFact.unsettled() || s.announce && !s.openFact.isSet()
}

// free notes that n bytes no longer wait in the flow's buffer, or that something else may let Send go on.
func (m *Mux) free(s *Sender, n int) {
	s.freed += n
	if !s.freeing {
		s.freeing = true
		m.freed = append(m.freed, s)
	}
}

// returnBuffers does what has been put off while messages came to their end: it abandons what depended on them and lets
// Send, and flows that wait for the session's credit, know of what is free.
func (m *Mux) returnBuffers() {
	m.bury()
	for i, s := range m.freed {
		s.gate.Lock()
		s.buffer(-s.freed)
		s.gapsKnown = s.gaps
		s.gate.Unlock(s.writable())
		s.freed, s.freeing = 0, false
		m.change(s)
		m.freed[i] = nil
	}
	m.freed = m.freed[:0]
	if m.unreserved {
		m.unreserved = false
		m.unblockSession()
	}
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
	if s.blockedAt != 0 {
		m.unblock(s)
		m.restartProbing()
	}
	return nil
}

// handleLimits handles credit for all our flows.
func (m *Mux) handleLimits(window, flows, message uint64) {
	if m.peerMaxMessage.CompareAndSwap(0, int64(max(1, min(message, 1<<30)))) { // it must not change
		m.sessionWait.serve(math.MaxUint64, m.goOn) // who waits with a larger message waits in vain
	}
	m.peerFlows = max(m.peerFlows, flows)
	m.serveAwaiting()
	if window > m.sendLimit {
		m.sendLimit = window
		m.unblockSession()
		m.restartProbing()
	}
}

func (m *Mux) assignID(s *Sender) {
	s.hasID = true
	s.open.Flow = m.nextID
	m.nextID++
	m.sendersByID[s.open.Flow] = s
	m.promise(s)
	m.traceOpened(s)
}
