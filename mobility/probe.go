// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// A purpose is why a path is being challenged.
type purpose uint8

const (
	idle         purpose = iota
	tryCandidate         // it may work
	tryFollow            // the peer seems to have moved there
	tryStandby           // is it still there, to fall back on?
	tryFailover          // the current path is in doubt
	tryMeasure           // how long does the current path take?
	tryVerify            // is the current path alive?
	tryOutage            // nothing answers; go on until something does
)

var purposes = [...]struct {
	tries int
	why   string
}{
	tryCandidate: {candidateTries, "it is a candidate"},
	tryFollow:    {followTries, "the peer's newest packet came from there"},
	tryStandby:   {standbyTries, "it is kept warm"},
	tryFailover:  {standbyTries, "the current path is in doubt"},
	tryMeasure:   {standbyTries, "its round-trip time is to be compared"},
	tryVerify:    {verifyTries, "it is current and in doubt"},
	tryOutage:    {standbyTries, "nothing answers"},
}

// A probe is a series of challenges by one path. The zero value is none.
type probe struct {
	why     purpose
	tries   int           // challenges so far
	expired int           // of them, how many had their time
	next    time.Time     // when the next challenge is due
	wait    time.Duration // how long the next challenge has
}

// A challenge is one that has been asked for and not been answered.
type challenge struct {
	data [8]byte
	at   time.Time // zero: unused
}

// start begins to challenge p, or begins anew if that is for another reason.
func (m *Machine) start(now time.Time, p *path, why purpose) {
	if p.probe.why == why || why == tryMeasure && p.probe.why != idle {
		return
	}
	rtt := p.rtt
	if rtt == 0 {
		rtt = unknownRTT
	}
	p.probe = probe{why: why, next: now, wait: min(max(2*rtt, probeMin), probeMax/2)}
	if p.vouched || p.proven {
		// The peer named this address, or has answered from it: these challenges need not be earned.
		p.topUp(purposes[why].tries * challengeSize)
	}
	m.pump(now, p)
}

// topUp makes the budget of p at least n.
func (p *path) topUp(n int) {
	p.grant += max(0, n-(p.grant+3*p.recv-p.sent-p.queued))
}

// hurry sends the next challenge of a probe now, unless the last one has hardly left.
func (m *Machine) hurry(now time.Time, p *path) {
	if p.probe.why == idle {
		if m.outage {
			m.start(now, p, tryOutage)
		}
		return
	}
	if p.probe.next.After(now) && now.Sub(p.lastChallenge) >= answerGap {
		p.probe.next = now
		p.probe.wait = min(p.probe.wait, 2*probeMin)
		m.pump(now, p)
	}
}

// pump sends the challenge that is due on p, or ends the probe if it has had its tries.
func (m *Machine) pump(now time.Time, p *path) {
	if p.probe.why == idle || now.Before(p.probe.next) {
		return
	}
	if p.probe.tries > p.probe.expired {
		p.probe.expired = p.probe.tries
		if p.probe.why == tryVerify && m.unanswered(now) {
			return
		}
	}
	if p.probe.tries >= purposes[p.probe.why].tries && !(p.probe.why == tryOutage && m.outage) {
		m.giveUp(now, p)
		return
	}
	if p.probe.why == tryOutage && !p.valid && p.proven {
		p.topUp(challengeSize) // an outage may last
	}
	if m.budgetOf(p) < challengeSize {
		m.stats.Unaffordable++
	} else if at := m.allowProbe(now); at.After(now) {
		p.probe.next = at
		return
	} else {
		m.challenge(now, p)
	}
	p.probe.tries++
	p.probe.next = now.Add(p.probe.wait)
	p.probe.wait = min(2*p.probe.wait, probeMax)
}

// challenge asks for one challenge by p. RFC 9000 §8.2.1: "The endpoint MUST use unpredictable data in every
// PATH_CHALLENGE frame so that it can associate the peer's response with the corresponding PATH_CHALLENGE".
func (m *Machine) challenge(now time.Time, p *path) {
	c := challenge{at: now}
	m.c.Rand(c.data[:])
	p.challenges[p.nextSlot] = c
	p.nextSlot = (p.nextSlot + 1) % keptChallenges
	p.lastChallenge = now
	m.stats.Challenges++
	m.push(Action{Op: Challenge, Path: p.snapshot(p == m.cur), Data: c.data, Why: purposes[p.probe.why].why})
}

// allowProbe takes one challenge from the rate all paths share. It returns now if there was one, else when there
// will be.
func (m *Machine) allowProbe(now time.Time) time.Time {
	if m.budget.Before(now) {
		m.budget = now
	}
	if at := m.budget.Add(-(probeBurst - 1) * probeEvery); at.After(now) {
		return at
	}
	m.budget = m.budget.Add(probeEvery)
	return now
}

// giveUp ends a probe that nobody answered.
func (m *Machine) giveUp(now time.Time, p *path) {
	why := p.probe.why
	p.probe = probe{}
	p.followed = time.Time{}
	if p == m.cur && why == tryCandidate {
		m.reconsider(now)
	}
	if why == tryMeasure || p == m.cur {
		return
	}
	p.unprove()
	p.misses = min(p.misses+1, 16)
	p.standbyAt = now.Add(min(time.Second<<p.misses, m.standbyWait()))
	if p.standbyAt.Before(p.heldUntil) {
		p.standbyAt = p.heldUntil
	}
}

// unprove ends the validity of p and with it the freedom to send: the budget has to be earned again.
func (p *path) unprove() {
	if p.valid {
		p.valid = false
		p.grant, p.recv, p.sent = 0, 0, 0
	}
}

// HandleResponse says that a packet from k held a PATH_RESPONSE. It validates the path by which the challenge with
// this data went, wherever the response came from. RFC 9000 §8.2.3: "Path validation succeeds when a PATH_RESPONSE
// frame is received that contains the data that was sent in a previous PATH_CHALLENGE frame."
func (m *Machine) HandleResponse(now time.Time, _ Key, data [8]byte) {
	p := m.answer(now, data)
	if p == nil {
		m.stats.Unmatched++
		return
	}
	m.stats.Answered++
	p.proven, p.valid = true, true
	p.lastAnswer = now
	p.misses = 0
	p.probe = probe{}
	p.challenges = [keptChallenges]challenge{}
	p.waiting = time.Time{}
	p.standbyAt = now.Add(m.standbyWait())
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
		m.outage, m.strict = false, false
		m.elsewhere, m.peerMoved = 0, false
	case m.outage:
		m.switchTo(now, p, "the "+p.String()+" was the first to answer after an outage")
		return
	case !followed.IsZero() && p.Kind == m.cur.Kind && !m.newestOnCur.After(followed):
		from := m.cur
		m.switchTo(now, p, "the peer moved from "+from.Key.String()+" to "+p.Key.String()+", which answered")
		from.unprove() // its measurements are of the past; it must answer again to be chosen
		return
	case m.cur.probe.why == tryVerify:
		if m.failover(now) {
			return
		}
	}
	m.reconsider(now)
}

// answer finds the path whose challenge had this data and measures its round-trip time.
func (m *Machine) answer(now time.Time, data [8]byte) *path {
	for _, p := range m.paths {
		for _, c := range p.challenges {
			if c.at.IsZero() || c.data != data {
				continue
			}
			rtt := now.Sub(c.at)
			if rtt > challengeLife {
				return nil
			}
			rtt = max(rtt, 1)
			if p.rtt == 0 {
				p.rtt = rtt
			} else {
				p.rtt += (rtt - p.rtt) / 8 // RFC 9002 §5.3
			}
			return p
		}
	}
	return nil
}
