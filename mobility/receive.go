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
	quiet := now.Sub(m.lastOnCur())
	opened := !p.valid && p.lastReceived.Before(p.lastChallenge)
	p.in += uint64(max(size, 0))
	p.recv = min(p.recv+max(size, 0), 1<<24)
	p.lastReceived = now
	if newest {
		p.lastNewest = now
		m.traffic(now, size)
	}
	if m.outage || p != m.cur && m.cur.probe.why == tryVerify {
		m.hurry(now, p) // its way in is open
	}
	if opened {
		m.again(now, p)
	}
	if p == m.cur {
		m.survived(now, max(quiet, m.quiet.testing))
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
		p.followed, p.quietBefore = now, quiet
		m.follow(now, p)
	} else if m.followAtOnce(now, p) {
		return
	}
	if p.valid || worseKind(p, m.cur) {
		m.doubt(now, p)
	}
}

// lastOnCur returns when something last travelled by the current path, either way.
func (m *Machine) lastOnCur() time.Time {
	return latest(m.cur.lastReceived, m.cur.lastSent, m.switchedAt)
}

// heard notes that the current path brought something: it is alive, as far as the way in goes.
func (m *Machine) heard(now time.Time, newest bool) {
	m.cur.waiting = time.Time{}
	m.elsewhere, m.peerMoved = 0, false
	if newest {
		m.newestOnCur = now
	}
	if m.cur.probe.why == tryVerify && !m.strict {
		m.clearedAt = now
		m.cur.probe = probe{}
	}
}

// HandleSent says that size bytes were sent by k.
func (m *Machine) HandleSent(now time.Time, k Key, size int) {
	p := m.lookup(k)
	if p == nil {
		return
	}
	p.out += uint64(max(size, 0))
	if p == m.cur {
		if quiet := now.Sub(m.lastOnCur()); quiet >= m.c.keepalive() {
			m.quiet.testing = quiet
		}
		if !m.polled {
			m.traffic(now, size)
		}
	}
	m.polled = false
	p.lastSent = now
	p.sent = min(p.sent+max(size, 0), 1<<30)
	if p == m.cur && p.waiting.IsZero() && now.Sub(p.lastReceived) >= answerGap {
		p.waiting = now
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
		if p == m.cur {
			m.suspected(now)
		}
		m.push(Action{Op: Response, Path: p.snapshot(p == m.cur), Data: data})
		quiet := m.idle(now) && m.measures() && now.Sub(m.switchedAt) > busyFor
		if p.valid && p != m.cur && p.probe.why == idle && m.idle(now) {
			p.standbyAt = latest(p.standbyAt, now.Add(m.standbyWait(now, p))) // one end's checks keep it warm for both
		}
		if p != m.cur && p.Kind == Relayed && quiet {
			if q := m.standbys()[0]; q != nil && q.probe.why == idle {
				q.standbyAt = latest(q.standbyAt, now.Add(m.standbyWait(now, q)))
			}
			return // there is a relay to fall back on
		}
		if !p.valid && p != m.cur && p.probe.why == idle && !now.Before(m.nextTry) {
			m.nextTry = now.Add(followEvery)
			m.start(now, p, tryFollow) // what the peer tries is worth trying; moving there needs more
		}
	}
}
