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
	tryFormer            // the session followed the peer away from here: was that right?
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
	tryFormer:    {standbyTries, "the peer seems to have moved away from there"},
}

// A probe is a series of challenges by one path. The zero value is none.
type probe struct {
	why     purpose
	from    time.Time     // when it began
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
	if rtt == 0 || why == tryVerify || why == tryOutage {
		rtt = unknownRTT // what it was says little about what it is
	}
	p.probe = probe{why: why, from: now, next: now, wait: min(max(2*rtt, probeMin), probeMax/2)}
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
	gap := answerGap
	if m.outage || m.cur.probe.why == tryVerify {
		gap = raceEvery
	}
	if p.probe.next.After(now) && now.Sub(p.lastChallenge) >= gap {
		p.probe.next = now
		p.probe.wait = min(p.probe.wait, 2*probeMin)
		m.pump(now, p)
	}
}

// again repeats the last challenge by p, by which nothing has come before: the way there may not have been open when it
// was sent, as a filter in front of the peer lets in only those to whom the peer has sent. One that has got through would
// be answered about now.
func (m *Machine) again(now time.Time, p *path) {
	rtt := m.cur.rtt
	if rtt == 0 {
		rtt = unknownRTT
	}
	if p.probe.why != idle && p.probe.next.After(now) && now.Sub(p.lastChallenge) >= rtt*3/4 {
		p.probe.next = now
		m.pump(now, p)
	}
}

// pump sends the challenge that is due on p, or ends the probe if it has had its tries.
func (m *Machine) pump(now time.Time, p *path) {
	if p.probe.why == idle || now.Before(p.probe.next) {
		return
	}
	why := p.probe.why
	if p.probe.tries > p.probe.expired {
		p.probe.expired = p.probe.tries
	}
	endless := why == tryVerify || why == tryOutage && m.outage // the verdict ends them, or an answer
	if p.probe.tries >= purposes[why].tries && !endless {
		m.giveUp(now, p)
		return
	}
	if endless && !p.valid && (p.proven || p == m.cur && p.vouched && now.Sub(p.lastChallenge) >= probeMax) {
		p.topUp(challengeSize) // an outage may last, also one that came before the first answer
	}
	if m.budgetOf(p) < challengeSize {
		m.stats.Unaffordable++
	} else if at := m.allowProbe(now, p); at.After(now) {
		p.probe.next = at
		return
	} else {
		m.challenge(now, p)
	}
	p.probe.tries++
	p.probe.next = now.Add(m.spacing(now, p))
}

// spacing returns how long the challenge that has just been sent by p has before the next one follows.
func (m *Machine) spacing(now time.Time, p *path) time.Duration {
	b := &p.probe
	wait := b.wait
	b.wait = min(2*b.wait, probeMax)
	switch {
	case b.why == tryVerify:
		return m.patience() * 2 / 7 // four before the verdict, and time for the answer to the third
	case b.why != tryOutage:
		return wait
	case (p == m.cur || p == m.bestRelayed()) && now.Sub(m.outageFrom) < outageQuick:
		if m.c.Policy.Battery {
			b.wait = min(wait*5/4, probeMax)
			return wait
		}
		return m.jitter(outageEvery*9/10, outageEvery/5)
	}
	return max(wait, time.Duration(len(m.paths)-2)*outageEvery) // leaves room for the two that matter most
}

// bestRelayed returns the best relayed path that has answered once, or nil.
func (m *Machine) bestRelayed() *path {
	var best *path
	for _, p := range m.paths {
		if p.proven && p.Kind == Relayed && (best == nil || better(p.snapshot(false), best.snapshot(false), 0)) {
			best = p
		}
	}
	return best
}

// challenge asks for one challenge by p. RFC 9000 §8.2.1: "The endpoint MUST use unpredictable data in every
// PATH_CHALLENGE frame so that it can associate the peer's response with the corresponding PATH_CHALLENGE".
func (m *Machine) challenge(now time.Time, p *path) {
	c := challenge{at: now}
	m.c.Rand(c.data[:])
	if p.nextSlot == 0 && !p.challenges[0].at.IsZero() && now.Sub(p.challenges[0].at) < challengeLife/2 {
		p.nextSlot = 1 // one is kept for long: the path may have become slow, and the challenges are close
	}
	p.challenges[p.nextSlot] = c
	p.nextSlot = (p.nextSlot + 1) % keptChallenges
	p.lastChallenge = now
	m.stats.Challenges++
	t := m.trial(now, p)
	t.Last = now
	t.Challenges++
	m.push(Action{Op: Challenge, Path: p.snapshot(p == m.cur), Data: c.data, Why: purposes[p.probe.why].why})
}

// allowProbe takes one challenge from the rate all paths share. It returns now if there was one, else when there
// will be. Of a burst something is left for more promising paths.
func (m *Machine) allowProbe(now time.Time, p *path) time.Time {
	at := m.challenges.Due(now, probeEvery, probeBurst-probeReserves[m.promise(now, p)])
	if !at.After(now) {
		m.challenges.Take(now, probeEvery)
	}
	return at
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
		p.lose(true)
		return
	}
	if p.valid || why == tryCandidate || why == tryFollow {
		m.note(now, GivenUp, p.Candidate, purposes[why].why)
	}
	p.unprove()
	p.misses = min(p.misses+1, 16)
	p.standbyAt = now.Add(min(time.Second<<p.misses, m.standbyWait(now, p)))
	if p.standbyAt.Before(p.heldUntil) {
		p.standbyAt = p.heldUntil
	}
}

// unprove ends the validity of p and with it the freedom to send: the budget has to be earned again.
func (p *path) unprove() {
	if p.valid {
		p.valid, p.loss = false, 0               // being dead is no quality
		p.grant, p.recv, p.sent = p.queued, 0, 0 // what waits to be polled was asked for while it was
	}
}
