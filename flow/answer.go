// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

// What keeps flows that answer flows bounded, and able to come at any time. An incoming flow counts as open until our
// answers to it are settled, so that a peer that takes no answers gets none to keep any more. An answer of the peer's
// has a place besides those of Config.MaxIncomingFlows, which it was promised when the flow that it answers was opened,
// so that two ends whose flows wait for answers do not wait for each other.

// mostPromised bounds how many of the answers to a flow are promised places.
const mostPromised = 64

// An awaitingID is a line of flows that wait for the peer to allow another flow.
type awaitingID struct {
	queue[*Sender]
	dead int // of them, aborted meanwhile
}

// awaitingLine returns the line that s waits in. Who answers waits for nobody else.
func (m *Mux) awaitingLine(s *Sender) *awaitingID {
	if s.open.HasAnswers {
		return &m.awaiting[0]
	}
	return &m.awaiting[1]
}

// serveAwaiting gives IDs to flows that wait, as far as there are some.
func (m *Mux) serveAwaiting() {
	for i := range m.awaiting {
		line := &m.awaiting[i]
		for line.len() > 0 && m.nextID < m.peerFlows {
			slot := line.pop()
			s := *slot
			*slot = nil
			s.awaiting = false
			if s.failed {
				line.dead--
			}
			if s.sendable() {
				m.assignID(s)
				m.sched.add(s)
			}
		}
	}
}

// dropAwaiting notes that a flow no longer waits for an ID. The dead are cleared out when they are the majority.
func (m *Mux) dropAwaiting(s *Sender) {
	if !s.awaiting {
		return
	}
	line := m.awaitingLine(s)
	if line.dead++; 2*line.dead <= line.len() {
		return
	}
	var living awaitingID
	for i := range line.len() {
		if w := *line.at(i); !w.failed {
			*living.push() = w
		}
	}
	*line = living
}

// promise makes room for the answers to a flow that the peer is about to see.
func (m *Mux) promise(s *Sender) {
	if s.returns > 0 {
		s.promised = min(s.returns, mostPromised)
		m.answersDue += uint64(s.promised)
		m.updateSessionLimits()
	}
}

// expectNone notes that no more answers to s are wanted.
func (m *Mux) expectNone(s *Sender) {
	m.answersDue -= uint64(s.promised)
	s.returns, s.promised = 0, 0
	if s.hasID && (s.failed || s.ending && !s.unsettled()) {
		delete(m.sendersByID, s.open.Flow)
	}
}

// endReturns makes AcceptReturn fail: nobody will answer.
func (m *Mux) endReturns(s *Sender, err error) {
	if s.returns > 0 {
		s.closeReturns(err)
		m.expectNone(s)
	}
}

// addAnswer counts the flows that answer r.
func (r *Receiver) addAnswer(n int) {
	r.gate.Lock()
	r.answers += n
	r.gate.Unlock(r.readable())
}

// answerSettled notes that nothing is to be told any more of a flow, which may answer another.
func (m *Mux) answerSettled(s *Sender) {
	r := s.answered
	if r == nil {
		return
	}
	s.answered = nil
	r.addAnswer(-1)
	if r.settled {
		m.collectReceiver(r)
		m.updateSessionLimits()
	}
}
