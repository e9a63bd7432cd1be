// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// suspectAt returns when the current path will have owed an answer for too long, or the zero time.
func (m *Machine) suspectAt() time.Time {
	if m.cur.waiting.IsZero() || m.outage || m.cur.probe.why == tryVerify {
		return time.Time{}
	}
	at := m.cur.waiting.Add(m.silence())
	if !m.verified() {
		return at
	}
	if last := m.lastVerify.Add(verifyEvery << min(m.doubts, 2)); at.Before(last) {
		return last
	}
	return at
}

// verified reports whether it was the current path that was verified last.
func (m *Machine) verified() bool {
	return !m.lastVerify.IsZero() && !m.lastVerify.Before(m.switchedAt)
}

// silence is how long the current path may take to answer before it is in doubt.
func (m *Machine) silence() time.Duration {
	rtt := m.cur.rtt
	if rtt == 0 {
		rtt = unknownRTT
	}
	return min(max(3*rtt, silenceMin), silenceMax)
}

// patience is how long the current path may leave challenges unanswered before the session moves to one that answers.
// It outlasts a queue of 300 ms that has just built up.
func (m *Machine) patience() time.Duration {
	if m.ground {
		return patienceMin // the old round-trip time means nothing
	}
	return min(max(3*m.cur.rtt, patienceMin), patienceMax)
}

// HandleStall says that the driver's loss detection has waited in vain for an acknowledgement of something sent by
// the current path (a probe timeout, RFC 9002 §6.2). The path is verified at once, and packets that merely arrive
// by it do not clear it: the way out may be dead while the way in lives. Without this call the machine finds a dead
// path by its silence, later by a fifth of a second and more.
func (m *Machine) HandleStall(now time.Time) {
	if m.outage || m.cur.probe.why != tryVerify && m.verified() && now.Sub(m.lastVerify) < doubtEvery {
		return
	}
	m.verify(now, true, "what was sent by it is not acknowledged")
}

// doubt verifies the current path because the peer's newest packets come by p, another path that works, while the
// current one is silent. One packet by a path of worse kind proves nothing: it may be the peer's own probe. The more
// often the current path has survived this, the less often it is asked: the ends may just prefer different paths.
func (m *Machine) doubt(now time.Time, p *path) {
	if m.outage || m.cur.probe.why == tryVerify || worseKind(p, m.cur) && m.elsewhere < 2 ||
		now.Sub(m.cur.lastReceived) < max(3*m.cur.rtt, 2*probeMin) ||
		m.verified() && now.Sub(m.lastVerify) < doubtEvery<<m.doubts {
		return
	}
	m.doubts = min(m.doubts+1, maxDoubts)
	m.verify(now, false, "the peer's newest packets come by another path")
	if p.probe.why == idle {
		m.start(now, p, tryFailover)
	}
}

// verify begins to challenge the current path to find out whether it is alive, and all others to know where to go.
func (m *Machine) verify(now time.Time, strict bool, why string) {
	if m.cur.probe.why == tryVerify {
		m.strict = m.strict || strict
		return
	}
	if m.outage {
		return
	}
	m.note(now, Doubted, m.cur.Candidate, why)
	m.strict = strict
	m.lastVerify = now
	m.verdictAt = now.Add(verdictEvery)
	m.start(now, m.cur, tryVerify)
	m.challengeAll(now)
}

// verdict decides whether a verification is over: the session moves, goes on, or has no path that works.
func (m *Machine) verdict(now time.Time) {
	if m.cur.probe.why != tryVerify || m.failover(now) {
		return
	}
	if now.Sub(m.lastVerify) >= max(3*m.patience(), deadMin) && m.cur.probe.tries >= verifyTries {
		cur := m.cur
		m.failed(now)
		m.dead(now, "nothing answers, neither the "+cur.String()+" nor another path")
		return
	}
	m.verdictAt = now.Add(verdictEvery)
}

// failover leaves the current path if it has had time to answer and another path has answered since the verification
// began.
func (m *Machine) failover(now time.Time) bool {
	var best *path
	for _, p := range m.paths {
		if p != m.cur && p.valid && !p.lastAsked.Before(m.lastVerify) &&
			(best == nil || better(p.snapshot(false), best.snapshot(false), 0)) {
			best = p
		}
	}
	if best == nil || now.Sub(m.lastVerify) < m.chance(best) {
		return false
	}
	if !m.ground && !m.peerMoved && m.cur.probe.tries < verifyTries {
		return false // the limit of challenges has kept it from being asked
	}
	if at := m.directSoon(best); now.Before(at) {
		m.verdictAt = at
		return false
	}
	cur := m.cur
	m.failed(now)
	m.switchTo(now, best, "the "+cur.String()+" no longer answers, the "+best.String()+" does")
	return true
}

// directSoon returns until when a direct path that was challenged together with p, which is relayed and has answered,
// may answer too, or the zero time.
func (m *Machine) directSoon(p *path) (at time.Time) {
	if p.Kind == Direct {
		return at
	}
	for _, q := range m.paths {
		if q.Kind == Direct && q.place > 0 && q.probe.why != idle && q.lastChallenge.Sub(p.lastAsked).Abs() < togetherness {
			at = latest(at, q.lastChallenge.Add(p.rtt+togetherness))
		}
	}
	return at
}

// chance is how long the current path has to answer while p does.
func (m *Machine) chance(p *path) time.Duration {
	rtt := m.cur.rtt
	if rtt == 0 {
		rtt = unknownRTT
	}
	switch {
	case m.ground && worseKind(p, m.cur):
		return min(max(rtt*5/4, graceMin), 3*graceMin*2)
	case m.ground:
		return min(max(rtt*5/4, graceMin), 2*graceMin)
	case m.peerMoved:
		return min(max(rtt*3/2, probeMin), m.patience())
	case m.strict && m.cur.lastReceived.After(m.lastVerify.Add(rtt)):
		return 2 * m.patience() // it brings packets: perhaps it has only become slow
	}
	return m.patience()
}

// failed notes that the current path has died. Each time it does, it is held off for longer before the session may
// return to it, so that a flapping path does not drag the session with it.
func (m *Machine) failed(now time.Time) {
	p := m.cur
	m.tooQuiet(now, m.quiet.testing)
	p.unprove()
	p.probe = probe{}
	if m.ground {
		return // it is not to blame
	}
	if now.Sub(m.switchedAt) >= steady {
		p.failures = 0
	}
	p.failures = min(p.failures+1, 6)
	p.heldUntil = now.Add(min(time.Second<<p.failures, maxHold))
}

// dead says that nothing answers and challenges everything known until something does.
func (m *Machine) dead(now time.Time, why string) {
	m.outage, m.outageFrom = true, now
	m.strict, m.ground = false, false
	m.stats.Outages++
	m.note(now, Died, m.cur.Candidate, why)
	m.push(Action{Op: Dead, Path: m.cur.snapshot(true), Why: why})
	for _, p := range m.paths {
		p.heldUntil = time.Time{} // whatever answers is welcome
		if p.proven || p.vouched {
			m.start(now, p, tryOutage)
		}
	}
}

// revive ends an outage because the current path answers again.
func (m *Machine) revive(now time.Time) {
	why := "the " + m.cur.String() + " answers again"
	m.outage, m.outageFrom = false, now
	m.note(now, Revived, m.cur.Candidate, why)
	m.push(Action{Op: Alive, Path: m.cur.snapshot(true), Why: why})
	m.challengeAll(now)
}

// switchTo moves the session to p.
func (m *Machine) switchTo(now time.Time, p *path, why string) {
	from, outage := m.cur, m.outage
	a := Action{Op: Switch, From: from.snapshot(false), Why: why}
	from.waiting = time.Time{}
	if from.probe.why == tryVerify || from.probe.why == tryMeasure {
		from.probe = probe{}
	}
	from.standbyAt = now.Add(m.standbyWait(now, from))
	if !from.valid && now.Before(from.heldUntil) {
		from.standbyAt = from.heldUntil
	}
	m.cur = p
	m.switchedAt = now
	m.outage, m.strict, m.ground = false, false, false
	m.elsewhere, m.peerMoved, m.doubts = 0, false, 0
	m.quiet.testing, m.quiet.borne = 0, 0
	m.keepaliveWait = m.nextKeepalive()
	p.waiting, p.followed = time.Time{}, time.Time{}
	p.probe = probe{}
	p.minRTT = p.rtt
	if m.pendingFollow == p {
		m.pendingFollow = nil
	}
	m.stats.Switches++
	a.Path = p.snapshot(true)
	m.push(a)
	m.note(now, Switched, p.Candidate, why)
	if outage {
		m.challengeAll(now) // what else is back?
	}
}
