// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// follow begins the validation of a path by which the newest packet came, because the peer's address may have
// changed. RFC 9000 §9.3: "Receiving a packet from a new peer address containing a non-probing frame indicates that
// the peer has migrated to that address."
//
// There is at most one such validation a second, so that a peer, or someone who redirects its packets, cannot make
// us challenge address after address. A path of a better kind than the current is worth the challenge anyway.
func (m *Machine) follow(now time.Time, p *path) {
	if p.probe.why == tryFollow {
		return // under way
	}
	if now.Before(p.heldUntil) && now.Sub(m.cur.lastReceived) < refuseWhile {
		m.note(now, Refused, p.Candidate, "packets came from there before while the peer was elsewhere")
		return
	}
	if !betterKind(p, m.cur) && now.Before(m.nextFollow) &&
		(now.Sub(m.cur.lastReceived) < refuseWhile || now.Sub(m.lastFollow) < followEvery) {
		m.pendingFollow = p
		return
	}
	if betterKind(p, m.cur) && !p.lastChallenge.IsZero() && now.Sub(p.lastChallenge) < followEvery {
		m.hurry(now, p) // challenged a moment ago as a candidate; its way in is open now
		return
	}
	m.followed(now, p)
	m.note(now, Following, p.Candidate, "the peer's newest packet came from there")
	m.start(now, p, tryFollow)
}

// followed takes the turn of p from those that the limit leaves.
func (m *Machine) followed(now time.Time, p *path) {
	if m.pendingFollow == p {
		m.pendingFollow = nil
	}
	if now.Sub(m.wronglyAt) > steady {
		m.wrongly = 0
	}
	if !betterKind(p, m.cur) {
		m.lastFollow = now
		m.nextFollow = now.Add(followEvery << m.wrongly)
	}
}

// followAtOnce moves to a path from which the peer's newest packet came and which has answered already, if it is younger
// than the present choice and nothing has come by that since: the peer tried it, and now uses it.
func (m *Machine) followAtOnce(now time.Time, p *path) bool {
	if p.Kind != m.cur.Kind || !p.created.After(m.switchedAt) || now.Before(p.heldUntil) || now.Before(m.nextFollow) || m.outage {
		return false
	}
	if p.vouched { // what was on its way when the peer told of it may have come since
		rtt := orDefault(m.cur.rtt, unknownRTT)
		if m.cur.lastReceived.After(p.created.Add(rtt)) || now.Sub(m.cur.lastReceived) < rtt {
			return false
		}
	} else if m.cur.lastReceived.After(p.created) {
		return false
	}
	m.followed(now, p)
	m.followTo(now, p, "which had answered before")
	return true
}

// followTo moves the session to p because the peer did. RFC 9000 §9.3.3: "In response to an apparent migration,
// endpoints MUST validate the previously active path using a PATH_CHALLENGE frame." See comeBack.
func (m *Machine) followTo(now time.Time, p *path, how string) {
	from := m.cur
	m.tooQuiet(now, p.quietBefore)
	m.switchTo(now, p, "the peer moved from "+from.Key.String()+" to "+p.Key.String()+", "+how)
	from.unprove() // its measurements are of the past; it must answer again to be chosen
	if m.lookup(from.Key) == from {
		m.start(now, from, tryFormer)
	}
}

// comeBack returns to the path p that the session left to follow the peer, because the peer still is there: somebody
// who copies its packets and is quicker than they are may have sent them from the new address. That address is not
// followed again for a while, and others less readily, as long as the old one works. An address that the peer has
// named itself is not under suspicion, nor one that is clearly nearer.
func (m *Machine) comeBack(now time.Time, p *path) bool {
	to := m.cur
	if to.vouched || to.Kind != p.Kind || to.rtt != 0 && to.rtt+m.c.hysteresis() < p.rtt || now.Sub(m.switchedAt) > steady {
		return false
	}
	m.wrongly = min(m.wrongly+1, maxWrongly)
	m.wronglyAt = now
	m.nextFollow = now.Add(followEvery << m.wrongly)
	to.failures = min(to.failures+1, 6)
	hold := now.Add(min(time.Second<<to.failures, maxHold))
	m.note(now, Refused, to.Candidate, "the peer still answers where it was")
	m.switchTo(now, p, "the peer still answers at "+p.Key.String()+"; somebody may have sent its packets from "+to.Key.String())
	to.heldUntil = hold
	return true
}
