// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

const (
	// Traffic is weighed in packets: one for each that is neither a probe nor asked for by the machine, and one more
	// for every trafficBytes. What an idle session sends leaks away in time.
	trafficBytes = 200
	trafficLeak  = 2 * time.Second // per packet
	trafficBusy  = 8               // more than this at once means that data flows
	busyFor      = 30 * time.Second
	activeRest   = time.Minute // without HandleActive, after which it means something

	// Between challenges by a standby path of an idle session, and up to a quarter more. They say little: when the current
	// path fails, all others are challenged anyway.
	standbyIdle = 12 * time.Minute
	standbyMost = 20 * time.Minute // with the quarter, less than validAge
)

// traffic notes a packet that may carry data. Standby paths that have not been checked for long are, when data begins
// to flow.
func (m *Machine) traffic(now time.Time, size int) {
	const unit = int64(trafficLeak)
	m.flow = max(0, m.flow-int64(now.Sub(m.flowAt)))
	m.flowAt = now
	m.flow = min(m.flow+unit+unit*int64(size)/trafficBytes, 2*trafficBusy*unit)
	if m.flow < trafficBusy*unit {
		return
	}
	begins := m.idle(now)
	m.busyAt = now
	if begins {
		m.cur.standbyAt = now
		m.checkStandbys(now)
	}
}

// HandleActive says that the application has something to send, however little. After a silence that is a sign that more
// may follow: standby paths that have not been checked for long are. Without it the machine learns of activity by its size.
func (m *Machine) HandleActive(now time.Time) {
	begins := now.Sub(m.activeAt) > activeRest
	m.activeAt = now
	if begins {
		m.checkStandbys(now)
	}
}

// checkStandbys has the standby paths checked that have not answered lately.
func (m *Machine) checkStandbys(now time.Time) {
	for _, p := range m.standbys() {
		if p != nil && p.probe.why == idle && now.Sub(p.lastAnswer) > m.c.standby() {
			p.standbyAt = latest(now, p.heldUntil)
		}
	}
}

// measures reports whether the current path is to be measured at cur.standbyAt, unless the session is idle.
func (m *Machine) measures() bool {
	return m.c.standby() > 0 && !m.outage && m.cur.valid && m.cur.probe.why == idle
}

// idle reports whether no data has flowed lately.
func (m *Machine) idle(now time.Time) bool { return now.Sub(m.busyAt) > busyFor }

// standbyWait returns how long to leave p alone, which is kept warm: 15 to 20 s while data flows, minutes in an idle
// session, except if the peer uses this path, whose NAT must not forget it.
func (m *Machine) standbyWait(now time.Time, p *path) time.Duration {
	d := m.c.standby()
	switch {
	case m.lately(now, p.lastNewest):
		return m.jitter(d, d/6)
	case m.idle(now):
		d = max(d, standbyIdle)
		if p.Kind == Direct && m.bestRelayed() != m.cur && m.bestRelayed() != nil {
			d *= 2 // there is a relay to fall back on
		}
		if m.c.Policy.Battery {
			d *= 2
		}
		d = min(d, max(m.c.standby(), standbyMost))
		return m.jitter(d, d/4)
	}
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
			switch q := s[i]; {
			case q == nil, m.opener(p, q):
				s[i] = p
			case !m.opener(q, p) && better(p.snapshot(false), q.snapshot(false), 0):
				s[i] = p
			}
		}
	}
	return s
}

// opener reports whether p, of two relayed paths that work and take about the same time, is the one whose challenges arrive
// after a silence: that by the peer's relay, which knows us. What our own relay sends is kept out by the peer's NAT.
func (m *Machine) opener(p, q *path) bool {
	return p.Kind == Relayed && q.Kind == Relayed && p.Via == 0 && q.Via > 0 && p.valid && p.rtt <= q.rtt+m.c.hysteresis()
}
