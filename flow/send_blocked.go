// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
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
	if s.blockedAt != 0 {
		return
	}
	m.blocked = append(m.blocked, s)
	s.blockedAt = int32(len(m.blocked))
	m.change(s)
	m.count.Blocked++
	s.stats.TimesBlocked++
	m.traceBlocked(s, false, s.flowLimit)
	m.startProbing()
}

// unblock notes that s is no longer blocked, if it was.
func (m *Mux) unblock(s *Sender) {
	if s.blockedAt == 0 {
		return
	}
	at, n := s.blockedAt, len(m.blocked)-1
	last := m.blocked[n]
	m.blocked[at-1], last.blockedAt = last, at
	m.blocked[n], m.blocked, s.blockedAt = nil, m.blocked[:n], 0
	m.change(s)
	if s.sendable() {
		m.sched.add(s)
	}
}

// starved reports whether anybody waits for credit.
func (m *Mux) starved() bool { return len(m.blocked) > 0 || m.sessionWait.n > 0 }

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
	if m.starved() {
		m.startProbing()
	}
}

// remindBlocked has the peer reminded of everybody who waits for credit.
func (m *Mux) remindBlocked(now time.Time) {
	if !m.starved() {
		m.probeAt = time.Time{} // they have given up what they waited with
		return
	}
	m.probeEvery = min(m.probeEvery*2, probeMost)
	m.probeAt = now.Add(m.probeEvery)
	m.sessionBlockedDue = m.sessionWait.n > 0
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
		if !s.remind {
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
