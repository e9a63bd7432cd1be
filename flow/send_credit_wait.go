// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "math"

// A sessionLine holds the flows that wait for credit of the session, by priority and in the order in which they came. The
// peer may raise the limit as little and as often as it likes, with any number of flows waiting: so nobody takes another
// look who cannot go on, and that is known without touching the flow.
type sessionLine struct {
	levels [levels][]creditPlace
	n      int    // flows that wait
	left   int    // places of those that have left
	least  uint64 // nobody needs less
}

type creditPlace struct {
	s    *Sender // nil: it has left
	need uint64  // for the whole message
}

func (l *sessionLine) add(s *Sender, need uint64) {
	if l.n == 0 {
		l.least = need
	}
	l.least = min(l.least, need)
	l.levels[s.level] = append(l.levels[s.level], creditPlace{s, need})
	s.waitAt = int32(len(l.levels[s.level]))
	l.n++
}

// remove takes s out, if it waits.
func (l *sessionLine) remove(s *Sender) {
	if s.waitAt != 0 {
		l.leave(s)
		l.compact()
	}
}

func (l *sessionLine) leave(s *Sender) {
	l.levels[s.level][s.waitAt-1] = creditPlace{}
	s.waitAt = 0
	l.n--
	l.left++
}

// compact closes the gaps when most places are: so leaving takes no longer the more wait.
func (l *sessionLine) compact() {
	if l.left <= l.n+16 {
		return
	}
	for level, line := range l.levels {
		kept := line[:0]
		for _, p := range line {
			if p.s != nil {
				kept = append(kept, p)
				p.s.waitAt = int32(len(kept))
			}
		}
		clear(line[len(kept):])
		l.levels[level] = kept
	}
	l.left = 0
}

// serve takes out those that need no more than credit in all, the most urgent first, and has them go on.
func (l *sessionLine) serve(credit uint64, goOn func(*Sender)) {
	defer l.compact()
	least := uint64(math.MaxUint64)
	for _, line := range l.levels {
		for _, p := range line {
			switch {
			case p.s == nil:
			case p.need > credit:
				least = min(least, p.need)
			default:
				l.leave(p.s)
				goOn(p.s)
				if credit -= p.need; credit < l.least {
					return // it does not suffice for anybody
				}
			}
		}
	}
	l.least = least
}

// await notes that s waits for as much credit of the session.
func (m *Mux) await(s *Sender, need uint64) {
	if s.waitAt == 0 {
		m.sessionWait.add(s, need)
		m.traceBlocked(s, true, m.sendLimit)
		m.startProbing()
	}
}

// sessionCredit returns how much of the session's credit is free.
func (m *Mux) sessionCredit() uint64 {
	return m.sendLimit - min(m.sendLimit, m.sendUsed+m.sendReserved)
}

// unblockSession lets flows go on for which the session's credit suffices, and reports whether there are any.
func (m *Mux) unblockSession() bool {
	if credit := m.sessionCredit(); m.sessionWait.n > 0 && credit >= m.sessionWait.least {
		m.sessionWait.serve(credit, m.goOn)
	}
	return m.sched.n > 0
}

func (m *Mux) goOn(s *Sender) {
	if s.sendable() {
		m.sched.add(s)
	}
}
