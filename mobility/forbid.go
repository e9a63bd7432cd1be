// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"time"
)

// allowed reports whether the policy permits a path.
func (m *Machine) allowed(k Key) bool {
	p := &m.c.Policy
	return (!p.RelayOnly || k.Via > 0) && (p.Allowed == nil || p.Allowed(k))
}

// SetPolicy replaces the policy. Paths that it forbids are dropped with what was to be sent by them; if the session
// used one, it moves at once to the best path left, or is [Dead]. Paths that an earlier policy forbade are not known:
// name them by HandleCandidate.
func (m *Machine) SetPolicy(now time.Time, p Policy) {
	m.SetBattery(now, p.Battery)
	m.c.Policy = p
	m.drop(now, func(p *path) bool { return !m.allowed(p.Key) }, "the policy forbids the %v")
	kept := m.actions[:m.head]
	for _, a := range m.actions[m.head:] {
		if a.Op != Switch && a.Op != Dead && !m.allowed(a.Path.Key) {
			m.account(a, -1)
			continue
		}
		kept = append(kept, a)
	}
	clear(m.actions[len(kept):])
	m.actions = kept
	m.reconsider(now)
}

// drop forgets the paths that are gone. If the session used one of them it moves to the best path left, or is [Dead];
// why is a sentence about that path.
func (m *Machine) drop(now time.Time, gone func(*path) bool, why string) {
	kept := m.paths[:0]
	for _, p := range m.paths {
		if gone(p) {
			m.forget(p)
			continue
		}
		kept = append(kept, p)
	}
	clear(m.paths[len(kept):])
	m.paths = kept
	if !gone(m.cur) || !m.cur.valid && m.outage {
		return
	}
	m.cur.valid, m.cur.probe = false, probe{}
	var best *path
	for _, p := range m.paths {
		if p.valid && (best == nil || better(p.snapshot(false), best.snapshot(false), 0)) {
			best = p
		}
	}
	why = fmt.Sprintf(why, m.cur)
	m.note(now, Gone, m.cur.Candidate, why)
	if best == nil {
		m.dead(now, why)
		return
	}
	m.switchTo(now, best, why)
	m.verify(now, true, "it may have died since it last answered")
}
