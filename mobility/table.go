// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"slices"
	"time"
)

func (m *Machine) lookup(k Key) *path {
	for _, p := range m.paths {
		if p.Key == k {
			return p
		}
	}
	return nil
}

// How much a path is worth keeping; rank returns one of these.
const (
	rankIdle    = iota // never answered, and not being tried
	rankPast           // answered once, but does not now, and the peer does not name it
	rankSpare          // answers, but is neither named nor kept warm
	rankStray          // never answered, being tried although the peer does not name it
	rankTried          // never answered, being tried
	rankSilent         // answered once, but not lately
	rankNamed          // being tried because the peer names it among the first
	rankValid          // answers
	rankCurrent        // never evicted
)

// rank returns what p is worth beside the paths that are kept warm.
func (m *Machine) rank(p *path, warm [maxStandby]*path) int {
	silent := !p.valid || m.outage && p.probe.expired > 0
	past := !p.vouched && p.probe.why != tryFollow
	switch {
	case p == m.cur:
		return rankCurrent
	case !silent && past && !slices.Contains(warm[:], p):
		return rankSpare
	case !silent:
		return rankValid
	case p.place > 0 && p.place <= promiseNamed && p.probe.why != idle:
		return rankNamed
	case p.proven && past:
		return rankPast
	case p.proven:
		return rankSilent
	case p.probe.why == idle:
		return rankIdle
	case !p.vouched:
		return rankStray
	}
	return rankTried
}

// insert adds a path, evicting one of at most the given rank if the table is full. It returns nil if it may not.
func (m *Machine) insert(now time.Time, c Candidate, evict int) *path {
	c.Kind = max(c.Kind, c.Key.Kind())
	p := &path{Candidate: c, created: now}
	if len(m.paths) < MaxPaths {
		m.paths = append(m.paths, p)
		return p
	}
	victim, warm := -1, m.standbys()
	for i, q := range m.paths {
		if m.rank(q, warm) > evict {
			continue
		}
		if victim < 0 || m.rank(q, warm) < m.rank(m.paths[victim], warm) ||
			m.rank(q, warm) == m.rank(m.paths[victim], warm) && lastLife(q).Before(lastLife(m.paths[victim])) {
			victim = i
		}
	}
	if victim < 0 {
		m.stats.Refused++
		return nil
	}
	m.forget(m.paths[victim])
	m.paths[victim] = p
	return p
}

// forget drops what refers to a path that leaves the table.
func (m *Machine) forget(p *path) {
	if m.pendingFollow == p {
		m.pendingFollow = nil
	}
}

// lastLife returns when a path last did anything. What we send to a path that did answer once is no life of it.
func lastLife(p *path) time.Time {
	t := p.created
	if p.lastReceived.After(t) {
		t = p.lastReceived
	}
	if p.lastAnswer.After(t) {
		t = p.lastAnswer
	}
	if !p.proven && p.lastChallenge.After(t) {
		t = p.lastChallenge
	}
	return t
}

// expiresAt returns when a path will have been silent for so long that it is forgotten, or the zero time.
func (m *Machine) expiresAt(p *path) time.Time {
	switch {
	case p == m.cur || p.probe.why != idle:
		return time.Time{}
	case p.valid:
		return lastLife(p).Add(validAge)
	case p.proven:
		return lastLife(p).Add(provenAge)
	}
	return lastLife(p).Add(unprovenAge)
}

// expire forgets paths that have been silent for long.
func (m *Machine) expire(now time.Time) {
	kept := m.paths[:0]
	for _, p := range m.paths {
		if due(now, m.expiresAt(p)) {
			m.forget(p)
			continue
		}
		kept = append(kept, p)
	}
	clear(m.paths[len(kept):])
	m.paths = kept
}

// HandleViaLost says that a relay allocation, or with via 0 the endpoint's sockets, are gone. Their paths are
// dropped. If the session used one, it moves at once to the best path left, or is [Dead].
func (m *Machine) HandleViaLost(now time.Time, via int32) {
	m.drop(now, func(p *path) bool { return p.Via == via }, "the local binding of the %v is gone")
}
