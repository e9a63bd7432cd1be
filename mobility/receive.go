// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// HandleReceived says that an authentic packet of size bytes came by k. newest says that its packet number is the
// highest so far and that it is no probe, which a packet with a challenge or a response is (RFC 9000 §9.1). Only such a
// packet can make the session follow the peer to a new address: an old packet which somebody delays and sends from
// elsewhere moves nothing, and neither does a peer that only tries its paths.
func (m *Machine) HandleReceived(now time.Time, k Key, size int, newest bool) {
	if !m.allowed(k) {
		m.stats.Ignored++
		return
	}
	p := m.lookup(k)
	if p == nil {
		evict := rankIdle
		if newest {
			evict = rankSilent
		}
		if p = m.insert(now, Candidate{Key: k}, evict); p == nil {
			return
		}
	}
	p.in += uint64(max(size, 0))
	p.recv = min(p.recv+max(size, 0), 1<<24)
	p.lastReceived = now
	if m.outage {
		m.hurry(now, p)
	}
	if p == m.cur {
		m.heard(now, newest)
		return
	}
	if !newest {
		return
	}
	m.elsewhere++
	if p.valid && !worseKind(p, m.cur) {
		m.peerMoved = true
	}
	if !p.valid {
		p.followed = now
		m.follow(now, p)
	}
	if p.valid || worseKind(p, m.cur) {
		m.doubt(now, p)
	}
}

// heard notes that the current path brought something: it is alive, as far as the way in goes.
func (m *Machine) heard(now time.Time, newest bool) {
	m.cur.waiting = time.Time{}
	m.elsewhere, m.peerMoved = 0, false
	if newest {
		m.newestOnCur = now
	}
	if m.cur.probe.why == tryVerify && !m.strict {
		m.cur.probe = probe{}
	}
}

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
	if !betterKind(p, m.cur) && now.Before(m.nextFollow) {
		m.pendingFollow = p
		return
	}
	if betterKind(p, m.cur) && !p.lastChallenge.IsZero() && now.Sub(p.lastChallenge) < followEvery {
		m.hurry(now, p) // challenged a moment ago as a candidate; its way in is open now
		return
	}
	if m.pendingFollow == p {
		m.pendingFollow = nil
	}
	if !betterKind(p, m.cur) {
		m.nextFollow = now.Add(followEvery)
	}
	m.start(now, p, tryFollow)
}

// HandleSent says that size bytes were sent by k.
func (m *Machine) HandleSent(now time.Time, k Key, size int) {
	p := m.lookup(k)
	if p == nil {
		return
	}
	p.out += uint64(max(size, 0))
	p.sent = min(p.sent+max(size, 0), 1<<30)
	if p == m.cur && p.waiting.IsZero() && now.Sub(p.lastReceived) >= answerGap {
		p.waiting = now
	}
}

// HandleCandidate says that a path may work: an ICE check succeeded on it, or the peer named it. It is challenged
// unless it is known to work. Naming a path that did not answer tries it again.
func (m *Machine) HandleCandidate(now time.Time, c Candidate) {
	if !m.allowed(c.Key) {
		m.stats.Ignored++
		return
	}
	p := m.lookup(c.Key)
	if p == nil {
		if p = m.insert(now, c, rankSilent); p == nil {
			return
		}
	}
	p.Kind = max(p.Kind, c.Kind)
	p.vouched = true
	switch {
	case p.probe.why != idle:
		m.hurry(now, p)
	case p == m.cur || p.valid && now.Sub(p.lastAnswer) < followEvery:
		// It works.
	default:
		m.start(now, p, tryCandidate)
	}
}

// HandleChallenge says that a packet from k held a PATH_CHALLENGE. It is answered by the same path.
// RFC 9000 §8.2.2: "A PATH_RESPONSE frame MUST be sent on the network path where the PATH_CHALLENGE frame was
// received."
func (m *Machine) HandleChallenge(now time.Time, k Key, data [8]byte) {
	p := m.lookup(k)
	switch {
	case p == nil || !m.allowed(k):
		m.stats.Ignored++
	case m.budgetOf(p) < challengeSize:
		m.stats.Unaffordable++
	case m.replies >= maxReplies:
		m.stats.Dropped++
	default:
		m.push(Action{Op: Response, Path: p.snapshot(p == m.cur), Data: data})
		if !p.valid && p != m.cur && p.probe.why == idle && !now.Before(m.nextTry) {
			m.nextTry = now.Add(followEvery)
			m.start(now, p, tryFollow) // what the peer tries is worth trying; moving there needs more
		}
	}
}
