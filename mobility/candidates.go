// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"slices"
	"time"
)

// HandleCandidate says that a path may work: an ICE check succeeded on it, or the peer named it. It is challenged
// unless it is known to work. Naming a path that did not answer tries it again.
func (m *Machine) HandleCandidate(now time.Time, c Candidate) { m.candidate(now, c, 0) }

// candidate is HandleCandidate for one that has a place in the peer's list, or with 0 has none.
func (m *Machine) candidate(now time.Time, c Candidate, place int) {
	if !m.allowed(c.Key) {
		m.stats.Ignored++
		return
	}
	p := m.lookup(c.Key)
	if p == nil {
		evict := rankSilent
		if place > promiseNamed {
			evict = rankStray // not those before it
		}
		if p = m.insert(now, c, evict); p == nil {
			return
		}
	}
	p.Kind = max(p.Kind, c.Kind)
	p.vouched = true
	p.place = max(p.place, place)
	switch {
	case p.probe.why != idle:
		m.hurry(now, p)
	case p == m.cur && !m.outage || p.valid && now.Sub(p.lastAnswer) < followEvery:
		// It works.
	case m.outage:
		m.start(now, p, tryOutage)
	default:
		m.start(now, p, tryCandidate)
	}
}

// HandleCandidates replaces the list of what the peer says it may be reached by, the most promising first. New paths are
// challenged at once, also in an outage; the ones that have not answered lately are tried again, at most every few seconds.
// A path that is no longer listed is forgotten, unless it is current, has answered lately, or the peer's own packets came
// by it, and then it gives way to those that are.
func (m *Machine) HandleCandidates(now time.Time, list []Candidate) {
	kept := m.paths[:0]
	for _, p := range m.paths {
		p.place = 1 + slices.IndexFunc(list, func(c Candidate) bool { return c.Key == p.Key })
		if p.vouched && p.place == 0 {
			p.vouched = false
			if p != m.cur && !m.lately(now, p.lastAnswer) && !m.lately(now, p.lastReceived) {
				m.forget(p)
				continue
			}
		}
		kept = append(kept, p)
	}
	clear(m.paths[len(kept):])
	m.paths = kept
	m.note(now, Named, m.cur.Candidate, "the peer says where it may be reached")
	for i, c := range list {
		if p := m.lookup(c.Key); p == nil || !p.vouched || now.Sub(p.lastChallenge) >= renameEvery {
			m.candidate(now, c, i+1)
		}
	}
}

// lately reports whether t is so recent that a path which did something then may be taken to exist.
func (m *Machine) lately(now, t time.Time) bool { return !t.IsZero() && now.Sub(t) < lately }
