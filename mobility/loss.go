// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

const (
	lossMemory     = 100             // packets over which HandleLosses averages
	lossTime       = 2 * time.Second // and at least time
	lossDegraded   = 0.10            // loss of the current path that calls for a comparison
	lossBad        = 0.25            // loss that makes a session leave a path ...
	lossGood       = 0.10            // ... for one that loses no more than this
	lossBack       = 0.15            // loss of a path that a session does not move to if another loses clearly less
	slowDegraded   = 3               // how many times the lowest round-trip time calls for a comparison
	slowLeast      = 100 * time.Millisecond
	degradedEvery  = 5 * time.Second // between two Degraded
	challengeShare = 1.0 / 16        // what one challenge counts for in the loss of a path
)

// HandleLosses says what has become of packets sent by the current path since the last call: so many were acknowledged,
// so many declared lost. Both numbers are what has been added, not totals. What is said while the path is in doubt, or
// within a second after that or after a switch, is ignored.
func (m *Machine) HandleLosses(now time.Time, acked, lost uint64) {
	n := acked + lost
	p := m.cur
	since := latest(m.lossesAt, now.Add(-lossTime))
	m.lossesAt = now
	if n == 0 || n < acked || m.outage || p.probe.why == tryVerify || now.Sub(latest(m.switchedAt, m.outageFrom, m.clearedAt)) < time.Second {
		return // what is lost while a path is dead, or was sent by another, says nothing about this one
	}
	share := min(float64(n)/(float64(n)+lossMemory), float64(now.Sub(since))/float64(lossTime)) // a gap is no loss
	p.loss += (float64(lost)/float64(n) - p.loss) * share
	m.degraded(now)
}

// lose takes the fate of one challenge into the loss of a path.
func (p *path) lose(lost bool) {
	if lost {
		p.loss += (1 - p.loss) * challengeShare
	} else {
		p.loss -= p.loss * challengeShare
	}
}

// degraded says so if the current path has become bad, and measures what else there is.
func (m *Machine) degraded(now time.Time) {
	p := m.cur
	if m.outage || p.probe.why == tryVerify || !m.degradedAt.IsZero() && now.Sub(m.degradedAt) < degradedEvery {
		return
	}
	var why string
	switch best := m.bestRTT(); {
	case p.loss > lossDegraded:
		why = "the " + p.String() + " loses " + percent(p.loss) + " of what is sent"
	case best > 0 && p.rtt > slowDegraded*best && p.rtt > slowLeast:
		why = "the " + p.String() + " takes " + ms(p.rtt) + ", " + ms(best) + " is possible"
	default:
		return
	}
	m.degradedAt = now
	m.note(now, Worsened, p.Candidate, why)
	m.push(Action{Op: Degraded, Path: p.snapshot(true), Why: why})
	m.start(now, p, tryMeasure)
	for _, q := range m.paths {
		if q != m.cur && q.valid && q.probe.why == idle && now.Sub(q.lastAnswer) > fresh/2 {
			m.start(now, q, tryStandby)
		}
	}
}

// bestRTT returns the lowest round-trip time that the current path has had, or that another one has now; zero if none
// is known.
func (m *Machine) bestRTT() time.Duration {
	best := m.cur.minRTT
	for _, p := range m.paths {
		if p != m.cur && p.valid && p.rtt > 0 && (best == 0 || p.rtt < best) {
			best = p.rtt
		}
	}
	return best
}
