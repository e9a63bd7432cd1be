// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// Reminders of being blocked go out in case a grant of credit was lost in some way that loss detection did not catch,
// and keep the path alive meanwhile.
const (
	probeFirst = time.Second
	probeMost  = 5 * time.Second
)

// block notes that s has no credit of its own.
func (m *Mux) block(s *Sender) {
	if s.blocked {
		return
	}
	s.blocked = true
	m.nBlocked++
	m.change(s)
	if !s.listed {
		s.listed = true
		m.blocked = append(m.blocked, s)
	}
	m.count.Blocked++
	s.stats.TimesBlocked++
	m.traceBlocked(s, false, s.flowLimit)
	m.startProbing()
}

// unblock notes that s is no longer blocked, if it was.
func (m *Mux) unblock(s *Sender) {
	if !s.blocked {
		return
	}
	s.blocked = false
	m.nBlocked--
	m.change(s)
	if s.sendable() {
		m.sched.add(s)
	}
	if len(m.blocked) > 2*m.nBlocked+16 {
		m.compactBlocked()
	}
}

// compactBlocked drops flows from the list that are not blocked.
func (m *Mux) compactBlocked() {
	m.blocked = slices.DeleteFunc(m.blocked, func(s *Sender) bool {
		s.listed = s.blocked
		return !s.listed
	})
}

// await notes that s waits for credit of the session.
func (m *Mux) await(s *Sender) {
	if s.waiting {
		return
	}
	s.waiting = true
	m.nWaiting++
	if !s.lined {
		s.lined = true
		m.sessionWait = append(m.sessionWait, s)
	}
	m.traceBlocked(s, true, m.sendLimit)
	m.startProbing()
}

// awaitNoMore has s take another look at the session's credit, or none if it is over.
func (m *Mux) awaitNoMore(s *Sender) {
	if s.waiting {
		s.waiting = false
		m.nWaiting--
	}
}

// unblockSession lets flows go on that waited for credit of the session.
func (m *Mux) unblockSession() {
	for i, s := range m.sessionWait {
		s.waiting, s.lined = false, false
		if s.sendable() {
			m.sched.add(s)
		}
		m.sessionWait[i] = nil
	}
	m.sessionWait, m.nWaiting = m.sessionWait[:0], 0
}

// startProbing has the peer reminded of who is blocked, unless it is going to be.
func (m *Mux) startProbing() {
	if m.probeAt.IsZero() {
		m.probeEvery = probeFirst
		m.probeAt = m.now.Add(m.probeEvery)
	}
}

// restartProbing starts the reminders over, because the peer has granted something, or stops them if nobody is blocked.
func (m *Mux) restartProbing() {
	m.probeAt = time.Time{}
	if m.nBlocked > 0 || m.nWaiting > 0 {
		m.startProbing()
	}
}

// remindBlocked has the peer reminded of everybody who waits for credit.
func (m *Mux) remindBlocked(now time.Time) {
	if m.nBlocked == 0 && m.nWaiting == 0 {
		m.probeAt = time.Time{} // they have given up what they waited with
		return
	}
	m.probeEvery = min(m.probeEvery*2, probeMost)
	m.probeAt = now.Add(m.probeEvery)
	m.sessionBlockedDue = m.nWaiting > 0
	m.compactBlocked()
	for _, s := range m.blocked {
		// While the peer may not know the flow, what it has not acknowledged is sent again anyway.
		s.remind = s.openFact.known()
		m.blockedDue = m.blockedDue || s.remind
	}
}

// appendBlocked appends the reminders that are due.
func (m *Mux) appendBlocked(b []byte, limit int) []byte {
	if m.sessionBlockedDue {
		if len(b)+wire.IntsSize(m.sendLimit) > limit {
			return b
		}
		b = wire.AppendInts(b, wire.ChunkSessionBlocked, m.sendLimit)
		m.sessionBlockedDue = false
		m.buildEliciting = true
	}
	if !m.blockedDue {
		return b
	}
	for _, s := range m.blocked {
		if !s.remind || !s.blocked {
			continue
		}
		if len(b)+wire.IntsSize(s.open.Flow, s.flowLimit) > limit {
			return b
		}
		b = wire.AppendInts(b, wire.ChunkFlowBlocked, s.open.Flow, s.flowLimit)
		s.remind = false
		m.buildEliciting = true
	}
	m.blockedDue = false
	return b
}
