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

// A creditLine holds flows that wait for credit. Each knows its place, so that leaving takes no longer the more wait.
type creditLine struct {
	flows []*Sender
	of    creditOf
}

// A creditOf says whose credit a flow waits for.
type creditOf uint8

const (
	ofFlow    creditOf = iota // its own
	ofSession                 // that of all flows together
)

// in reports whether s waits for a kind of credit.
func (s *Sender) in(of creditOf) bool { return s.lineAt[of] != 0 }

// add reports false if s is there already.
func (l *creditLine) add(s *Sender) bool {
	if s.in(l.of) {
		return false
	}
	l.flows = append(l.flows, s)
	s.lineAt[l.of] = int32(len(l.flows))
	return true
}

// remove reports false if s is not there.
func (l *creditLine) remove(s *Sender) bool {
	if !s.in(l.of) {
		return false
	}
	at, n := s.lineAt[l.of], len(l.flows)-1
	last := l.flows[n]
	l.flows[at-1], last.lineAt[l.of] = last, at
	l.flows[n], l.flows, s.lineAt[l.of] = nil, l.flows[:n], 0
	return true
}

// block notes that s has no credit of its own.
func (m *Mux) block(s *Sender) {
	if !m.blocked.add(s) {
		return
	}
	m.change(s)
	m.count.Blocked++
	s.stats.TimesBlocked++
	m.traceBlocked(s, false, s.flowLimit)
	m.startProbing()
}

// unblock notes that s is no longer blocked, if it was.
func (m *Mux) unblock(s *Sender) {
	if !m.blocked.remove(s) {
		return
	}
	m.change(s)
	if s.sendable() {
		m.sched.add(s)
	}
}

// await notes that s waits for as much credit of the session.
func (m *Mux) await(s *Sender, need uint64) {
	if m.sessionWait.add(s) {
		if m.sessionNeed > need || len(m.sessionWait.flows) == 1 {
			m.sessionNeed = need
		}
		m.traceBlocked(s, true, m.sendLimit)
		m.startProbing()
	}
}

// unblockSession lets flows go on that waited for credit of the session, if it suffices for any of them: a peer that
// grants it by the byte must not have all of them looked at each time.
func (m *Mux) unblockSession() {
	if m.sendUsed+m.sendReserved+m.sessionNeed > m.sendLimit {
		return
	}
	l := &m.sessionWait
	for i, s := range l.flows {
		l.flows[i], s.lineAt[ofSession] = nil, 0
		if s.sendable() {
			m.sched.add(s)
		}
	}
	l.flows = l.flows[:0]
}

// starved reports whether anybody waits for credit.
func (m *Mux) starved() bool { return len(m.blocked.flows) > 0 || len(m.sessionWait.flows) > 0 }

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
	m.sessionBlockedDue = len(m.sessionWait.flows) > 0
	for _, s := range m.blocked.flows {
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
	for _, s := range m.blocked.flows {
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
