// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// HandleResponse says that a packet from k held a PATH_RESPONSE. It validates the path by which the challenge with
// this data went, wherever the response came from. RFC 9000 §8.2.3: "Path validation succeeds when a PATH_RESPONSE
// frame is received that contains the data that was sent in a previous PATH_CHALLENGE frame."
func (m *Machine) HandleResponse(now time.Time, _ Key, data [8]byte) {
	p, asked := m.answer(now, data)
	if p == nil {
		m.stats.Unmatched++
		return
	}
	m.stats.Answered++
	t := m.trial(now, p)
	t.Answered = now
	t.Answers++
	if p == m.cur && m.ground && p.probe.why == tryVerify && asked.Before(m.lastVerify) {
		return // it was asked before the ground moved
	}
	why := p.probe.why
	switch {
	case !p.valid:
		m.note(now, Proven, p.Candidate, "it answered")
	case why == tryStandby || why == tryMeasure: // other challenges find out whether it is dead, which is no quality
		p.settle(asked)
	}
	p.proven, p.valid = true, true
	p.lastAnswer, p.lastAsked = now, asked
	p.misses = 0
	p.probe = probe{}
	p.challenges = [keptChallenges]challenge{}
	p.waiting = time.Time{}
	p.standbyAt = now.Add(m.standbyWait(now, p))
	if p.standbyAt.After(p.heldUntil) && now.Before(p.heldUntil) {
		p.standbyAt = p.heldUntil
	}
	followed := p.followed
	p.followed = time.Time{}
	if m.pendingFollow == p {
		m.pendingFollow = nil
	}

	switch {
	case p == m.cur:
		if why == tryVerify {
			m.clearedAt = now
		}
		if p.minRTT == 0 || p.rtt < p.minRTT {
			p.minRTT = p.rtt
		}
		m.strict, m.ground = false, false
		m.elsewhere, m.peerMoved = 0, false
		if m.outage {
			m.revive(now)
			return
		}
	case m.outage:
		m.switchTo(now, p, "the "+p.String()+" was the first to answer after an outage")
		return
	case why == tryFormer && m.comeBack(now, p):
		return
	case !followed.IsZero() && p.Kind == m.cur.Kind && !m.newestOnCur.After(followed):
		m.followTo(now, p, "which answered")
		return
	case m.cur.probe.why == tryVerify:
		if m.failover(now) {
			return
		}
	}
	m.reconsider(now)
	m.degraded(now)
}

// settle takes into the loss of p that a challenge sent at asked has been answered, and older ones of the same probe
// have not.
func (p *path) settle(asked time.Time) {
	for _, c := range p.challenges {
		if !c.at.Before(p.probe.from) && c.at.Before(asked) {
			p.lose(true)
		}
	}
	p.lose(false)
}

// answer finds the path whose challenge had this data, and when that was sent, and measures its round-trip time.
func (m *Machine) answer(now time.Time, data [8]byte) (*path, time.Time) {
	for _, p := range m.paths {
		for _, c := range p.challenges {
			if c.at.IsZero() || c.data != data {
				continue
			}
			rtt := now.Sub(c.at)
			if rtt > challengeLife {
				return nil, c.at
			}
			rtt = max(rtt, 1)
			if p.rtt == 0 || !p.valid {
				p.rtt = rtt // what it was before it failed is of the past
			} else {
				p.rtt += (rtt - p.rtt) / 8 // RFC 9002 §5.3
			}
			return p, c.at
		}
	}
	return nil, time.Time{}
}
