// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"strconv"
	"time"
)

// better reports whether a session should leave path cur for path p. This is the only place where paths are
// compared.
//
// A path that works beats one that does not, a direct path beats a relayed one, and among equals the round-trip
// time of p must be lower by margin and by an eighth. An unmeasured path neither wins nor loses by its time.
func better(p, cur Path, margin time.Duration) bool {
	switch {
	case p.Validated != cur.Validated:
		return p.Validated
	case p.Kind != cur.Kind:
		return p.Kind == Direct
	case p.RTT == 0 || cur.RTT == 0:
		return false
	}
	return p.RTT < cur.RTT-max(margin, cur.RTT/8)
}

// worseKind reports whether p is of a kind that a session would not choose over that of q.
func worseKind(p, q *path) bool { return p.Kind == Relayed && q.Kind == Direct }

// betterKind is the opposite; two paths of one kind are neither.
func betterKind(p, q *path) bool { return p.Kind == Direct && q.Kind == Relayed }

// reconsider moves the session to the best path if that is better than the current one.
func (m *Machine) reconsider(now time.Time) {
	best := m.cur
	measure := false
	for _, p := range m.paths {
		if p == m.cur || !p.valid || now.Before(p.heldUntil) || now.Sub(p.lastAnswer) > fresh {
			continue
		}
		if better(p.snapshot(false), best.snapshot(false), m.c.hysteresis()) {
			best = p
		} else if p.Kind == m.cur.Kind && m.cur.rtt == 0 {
			measure = true
		}
	}
	switch {
	case best == m.cur:
		if measure {
			m.start(now, m.cur, tryMeasure)
		}
	case betterKind(best, m.cur):
		m.switchTo(now, best, "the "+best.String()+" answered and needs no relay")
	case !m.cur.valid && m.cur.probe.why == tryCandidate:
		// It is the first path of the session and its own answer is under way.
	case !m.cur.valid:
		m.switchTo(now, best, "the "+best.String()+" answered and the "+m.cur.String()+" does not")
	case now.Sub(m.cur.lastAnswer) > fresh:
		m.start(now, m.cur, tryMeasure) // compare with what it is now, not with what it was
	case now.Sub(m.switchedAt) >= dwell:
		m.switchTo(now, best, "the "+best.String()+" takes "+ms(best.rtt)+", the "+m.cur.String()+" takes "+ms(m.cur.rtt))
	}
}

func percent(f float64) string { return strconv.Itoa(int(100*f+0.5)) + " %" }

func ms(d time.Duration) string { return d.Round(time.Millisecond).String() }
