// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// HandleLocalChange says that the ground has moved under all paths: addresses, routes or links have changed, the
// machine has woken from suspension, an outage may be over; or that the peer is elsewhere and has said so. Nothing that was known before counts as working until it
// answers again. The current path and everything else known is challenged at once, the best first, within the limit of
// challenges; the session moves to the first path that answers while the current one does not. The current one stays if
// it answers first, or shortly after a path of a worse kind did. Of several changes the last counts.
func (m *Machine) HandleLocalChange(now time.Time, why string) {
	m.note(now, Changed, m.cur.Candidate, why)
	m.movedAt = now
	for _, p := range m.paths {
		p.heldUntil = time.Time{} // what was wrong with it may be over
	}
	switch {
	case m.outage:
		m.outageFrom = now
		m.challengeAll(now)
	case m.ground && m.cur.probe.why == tryVerify && now.Sub(m.lastVerify) < groundAnew:
		m.challengeAll(now) // still in doubt; starting anew each time might never come to an end
	default:
		m.cur.probe = probe{}
		m.ground = true
		m.verify(now, true, why)
	}
}

// raceMost is how many paths are challenged at once when the current one is in doubt, and the others a little later. Half
// of the burst is left for what comes next.
const raceMost = probeBurst / 2

// groundAnew is when a verification begins anew if the ground moves again.
const groundAnew = patienceMin

// challengeAll challenges everything known at once, the most promising first.
func (m *Machine) challengeAll(now time.Time) {
	var room [MaxPaths]*path
	for i, p := range m.byPromise(now, room[:0], m.paths) {
		at := now
		if i >= raceMost {
			at = now.Add(patienceMin)
		}
		m.race(now, p, at)
	}
}

// race challenges p at next, or soon after if it has just been challenged, and quickly again if it does not answer.
func (m *Machine) race(now time.Time, p *path, next time.Time) {
	why := tryFailover
	switch {
	case m.outage:
		why = tryOutage
	case p == m.cur && p.probe.why != tryVerify:
		return
	case p == m.cur:
		why = tryVerify
	case p.valid && now.Before(p.heldUntil) && now.Sub(p.lastAnswer) < raceEvery:
		return
	}
	if !p.vouched && !p.proven {
		return // only packets came from there: it has not earned this
	}
	if at := p.lastChallenge.Add(raceEvery); at.After(next) {
		next = at
	}
	if p.probe.why == why && next.After(p.probe.next) {
		next = p.probe.next
	}
	tries := p.probe.tries
	if p.probe.why != why || why == tryFailover {
		tries = 0
	}
	p.probe = probe{why: why, next: next, wait: probeMin, tries: tries}
	p.topUp(purposes[why].tries * challengeSize)
	m.pump(now, p)
}
