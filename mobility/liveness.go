// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// keepaliveAt returns when a ping is due, or the zero time. Anything received on the current path puts it off, the
// peer's pings included.
func (m *Machine) keepaliveAt() time.Time {
	if m.c.keepalive() == 0 || m.outage || m.cur.probe.why == tryVerify {
		return time.Time{}
	}
	last := m.cur.lastReceived
	for _, t := range []time.Time{m.switchedAt, m.lastPing} {
		if t.After(last) {
			last = t
		}
	}
	return last.Add(m.keepaliveWait)
}

// suspectAt returns when the current path will have owed an answer for too long, or the zero time.
func (m *Machine) suspectAt() time.Time {
	if m.cur.waiting.IsZero() || m.outage || m.cur.probe.why == tryVerify {
		return time.Time{}
	}
	at := m.cur.waiting.Add(m.silence())
	if !m.lastVerify.IsZero() && at.Before(m.lastVerify.Add(verifyEvery)) {
		at = m.lastVerify.Add(verifyEvery)
	}
	return at
}

// silence is how long the current path may take to answer before it is in doubt.
func (m *Machine) silence() time.Duration {
	rtt := m.cur.rtt
	if rtt == 0 {
		rtt = 2 * unknownRTT
	}
	return min(max(4*rtt, silenceMin), silenceMax)
}

// HandleStall says that the driver's loss detection has waited in vain for an acknowledgement of something sent by
// the current path (a probe timeout, RFC 9002 §6.2). The path is verified at once, and packets that merely arrive
// by it do not clear it: the way out may be dead while the way in lives. Without this call the machine finds a dead
// path by its silence, later by up to a second.
func (m *Machine) HandleStall(now time.Time) {
	if m.outage || !m.lastVerify.IsZero() && now.Sub(m.lastVerify) < doubtEvery {
		return
	}
	m.verify(now, true)
}

// doubt verifies the current path because the peer's newest packets come by p, another path that works, while the
// current one is silent. One packet by a path of worse kind proves nothing: it may be the peer's own probe.
func (m *Machine) doubt(now time.Time, p *path) {
	if m.outage || m.cur.probe.why == tryVerify || worseKind(p, m.cur) && m.elsewhere < 2 ||
		now.Sub(m.cur.lastReceived) < max(3*m.cur.rtt, 2*probeMin) ||
		!m.lastVerify.IsZero() && now.Sub(m.lastVerify) < doubtEvery {
		return
	}
	m.verify(now, false)
	if p.probe.why == idle {
		m.start(now, p, tryFailover)
	}
}

// verify begins to challenge the current path to find out whether it is alive.
func (m *Machine) verify(now time.Time, strict bool) {
	if m.outage || m.cur.probe.why == tryVerify {
		return
	}
	m.strict = strict
	m.lastVerify = now
	m.start(now, m.cur, tryVerify)
}

// unanswered is called whenever a challenge of a verification has had its time. It reports whether the verification
// is over.
func (m *Machine) unanswered(now time.Time) bool {
	if m.cur.probe.expired == 1 {
		// While the current path is challenged again, find out what else there is.
		for _, p := range m.paths {
			switch {
			case p == m.cur:
			case p.probe.why == idle:
				m.start(now, p, tryFailover)
			default:
				m.hurry(now, p)
			}
		}
	}
	if m.failover(now) {
		return true
	}
	if m.cur.probe.expired < verifyTries {
		return false
	}
	m.failed(now)
	m.dead(now, "three challenges by the "+m.cur.String()+" were not answered, nor any by another path")
	return true
}

// failover leaves the current path if enough challenges by it have not been answered and another path has answered
// since the verification began. Three are enough; one is if the peer itself already sends by another path.
func (m *Machine) failover(now time.Time) bool {
	need := verifyTries
	if m.peerMoved {
		need = 1
	}
	if m.cur.probe.expired < need {
		return false
	}
	var best *path
	for _, p := range m.paths {
		if p != m.cur && p.valid && p.lastAnswer.After(m.lastVerify) &&
			(best == nil || better(p.snapshot(false), best.snapshot(false), 0)) {
			best = p
		}
	}
	if best == nil {
		return false
	}
	m.failed(now)
	m.switchTo(now, best, "the "+m.cur.String()+" no longer answers, the "+best.String()+" does")
	return true
}

// failed notes that the current path has died. Each time it does, it is held off for longer before the session may
// return to it, so that a flapping path does not drag the session with it.
func (m *Machine) failed(now time.Time) {
	p := m.cur
	p.unprove()
	if now.Sub(m.switchedAt) >= steady {
		p.failures = 0
	}
	p.failures = min(p.failures+1, 6)
	p.heldUntil = now.Add(min(time.Second<<p.failures, maxHold))
	p.probe = probe{}
}

// dead says that nothing answers and challenges everything known until something does.
func (m *Machine) dead(now time.Time, why string) {
	m.outage = true
	m.strict = false
	m.stats.Outages++
	m.push(Action{Op: Dead, Path: m.cur.snapshot(true), Why: why})
	for _, p := range m.paths {
		p.heldUntil = time.Time{} // whatever answers is welcome
		if p.proven || p.vouched {
			m.start(now, p, tryOutage)
		}
	}
}

// switchTo moves the session to p.
func (m *Machine) switchTo(now time.Time, p *path, why string) {
	from := m.cur
	a := Action{Op: Switch, From: from.snapshot(false), Why: why}
	from.waiting = time.Time{}
	if from.probe.why == tryVerify || from.probe.why == tryMeasure {
		from.probe = probe{}
	}
	from.standbyAt = now.Add(m.standbyWait())
	if !from.valid && now.Before(from.heldUntil) {
		from.standbyAt = from.heldUntil
	}
	m.cur = p
	m.switchedAt = now
	m.outage, m.strict = false, false
	m.elsewhere, m.peerMoved = 0, false
	p.waiting, p.followed = time.Time{}, time.Time{}
	p.probe = probe{}
	if m.pendingFollow == p {
		m.pendingFollow = nil
	}
	m.stats.Switches++
	a.Path = p.snapshot(true)
	m.push(a)
}

// standbyWait returns how long to leave a path alone that is kept warm.
func (m *Machine) standbyWait() time.Duration {
	d := m.c.standby()
	return m.jitter(d, d/3)
}

// standbys returns the paths to be kept warm: the best relayed one, and the best direct ones up to a total of
// maxStandby. Unused places are nil.
func (m *Machine) standbys() (s [maxStandby]*path) {
	if m.c.standby() == 0 || m.outage {
		return s
	}
	for i := range s {
		kind := Direct
		if i == 0 {
			kind = Relayed
		}
		for _, p := range m.paths {
			if p == m.cur || !p.proven || p.Kind != kind || i == 2 && p == s[1] {
				continue
			}
			if s[i] == nil || better(p.snapshot(false), s[i].snapshot(false), 0) {
				s[i] = p
			}
		}
	}
	return s
}
