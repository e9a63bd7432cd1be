// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

const (
	// The interval between pings is the configured one and up to an eighth more: 17.0 to 17.3 s for one end, which spares
	// the other the ping, and 17.7 to 18 s for that one.
	keepaliveBase = 16 * time.Second
	quietMost     = 18 * time.Second // without sending anything, unless Config.Keepalive says more

	batteryMost  = 5 * time.Minute
	batteryRetry = time.Hour // after which a silence that was too long is tried again
)

// A quiet is what battery mode has learned about the silence that the NATs bear.
type quiet struct {
	wait    time.Duration // silence allowed now, before jitter
	ceiling time.Duration // the longest to try; zero: batteryMost
	lowered time.Time     // when the ceiling was last lowered
	testing time.Duration // the silence that ended with what we sent last, and waits for an answer; zero: none
	borne   time.Duration // the silence that has just ended, it seems without harm
	borneAt time.Time
}

// askedAfter is how soon after a silence a challenge by the current path shows that the peer saw us at a new address.
const askedAfter = time.Second

// suspected notes that the peer challenges the current path. Right after a silence that means that our packets came to it
// from elsewhere: it was too long after all.
func (m *Machine) suspected(now time.Time) {
	if q := &m.quiet; q.borne > 0 && now.Sub(q.borneAt) < askedAfter {
		m.tooQuiet(now, q.borne)
	}
}

// SetBattery turns battery mode on or off (see Policy.Battery). In battery mode an idle session by a direct path is
// silent for longer and longer as long as what comes after the silence still gets through: 16 s, then half as much again each time, up to
// 5 min. If it does not get through, or by a new address, the session is back at 16 s at once, and stays below the
// silence that was too long for an hour. Until then, a message of the peer's may be lost in the NAT that forgot, and
// is late by what it takes to notice: that is the price. Other paths are checked half as often, and in an outage the
// challenges come more slowly, up to 2 s apart.
func (m *Machine) SetBattery(now time.Time, on bool) {
	if m.c.Policy.Battery == on {
		return
	}
	m.c.Policy.Battery = on
	m.quiet = quiet{}
	m.keepaliveWait = m.nextKeepalive()
}

// learns reports whether silences are tried that may be too long. By a relay they are not: a NAT that forgets it takes the
// allocation with it, which costs more than pings.
func (m *Machine) learns() bool { return m.c.Policy.Battery && m.cur.Kind == Direct }

// nextKeepalive returns how long nothing may travel by the current path from now on.
func (m *Machine) nextKeepalive() time.Duration {
	d := m.c.keepalive()
	if m.learns() {
		d = max(d, m.quiet.wait)
	}
	least := d + d/16
	if m.c.Second {
		least += d * 7 / 160
	}
	return m.jitter(least, d/56)
}

// keepaliveAt returns when a ping is due, or the zero time. What is received by the current path puts it off, and so
// does what is sent, except that a NAT may heed only what is sent: there has to be something of that every 18 s.
func (m *Machine) keepaliveAt() time.Time {
	if m.c.keepalive() == 0 || m.outage || m.cur.probe.why == tryVerify {
		return time.Time{}
	}
	p := m.cur
	at := latest(p.lastReceived, p.lastSent, m.switchedAt, m.lastPing).Add(m.keepaliveWait)
	most := max(quietMost, m.keepaliveWait)
	if m.c.Keepalive > 0 {
		most = m.keepaliveWait
	}
	if mapped := latest(p.lastSent, m.switchedAt, m.lastPing).Add(most); mapped.Before(at) {
		return mapped
	}
	return at
}

func latest(ts ...time.Time) time.Time {
	var t time.Time
	for _, u := range ts {
		if u.After(t) {
			t = u
		}
	}
	return t
}

// keepalive asks for a ping.
func (m *Machine) keepalive(now time.Time) {
	p := m.cur
	m.lastPing = now
	m.keepaliveWait = m.nextKeepalive()
	m.push(Action{Op: Ping, Path: p.snapshot(true)})
}

// survived notes that something came by the current path after, or at the end of, a silence: the NATs have borne it.
func (m *Machine) survived(now time.Time, silence time.Duration) {
	q := &m.quiet
	q.testing = 0
	if !m.learns() || silence < m.c.keepalive() || silence < q.wait {
		return
	}
	q.borne, q.borneAt = silence, now
	most := batteryMost
	if q.ceiling > 0 {
		if now.Sub(q.lowered) < batteryRetry {
			most = q.ceiling
		} else {
			q.ceiling = 0
		}
	}
	q.wait = min(silence+silence/2, most)
	m.keepaliveWait = m.nextKeepalive()
}

// tooQuiet notes that a path died or an address changed after a silence of the given length.
func (m *Machine) tooQuiet(now time.Time, silence time.Duration) {
	q := &m.quiet
	q.testing, q.borne = 0, 0
	if !m.learns() || silence < m.c.keepalive()*5/4 {
		return // what an ordinary session does as well is not to blame
	}
	q.ceiling = max(silence*2/3, m.c.keepalive())
	q.lowered = now
	q.wait = 0
	m.keepaliveWait = m.nextKeepalive()
	m.note(now, Rebound, m.cur.Candidate, "after a silence of "+ms(silence)+" the session is to be silent for less")
}
