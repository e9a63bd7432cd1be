// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import "time"

// How much a challenge by a path promises; promise returns one of these.
const (
	promiseMost  = iota // the current path, where the peer has moved, or what still brings packets when nothing answers
	promiseNew          // the peer names it among the first, or nothing is in doubt; it has not been challenged yet
	promiseAgain        // the same, and it has
	promisePoor         // the peer does not name it, or only among the last, while the current path is in doubt
)

// probeReserves is how much of a burst is left for more promising paths: what is certain to work must not wait for what is
// not, of which there may be more than the limit of challenges allows.
var probeReserves = [...]int{promiseMost: 0, promiseNew: 3, promiseAgain: 5, promisePoor: 8}

// promiseNamed is how many of the candidates that the peer has named are promising.
const promiseNamed = 8

func (m *Machine) promise(now time.Time, p *path) int {
	named := p.place > 0 && p.place <= promiseNamed
	switch {
	case p == m.cur || p.probe.why == tryFollow || m.outage && now.Sub(p.lastReceived) < refuseWhile:
		return promiseMost
	case p.place > promiseNamed || !named && m.InDoubt() && (!p.valid || m.ground):
		return promisePoor
	case p.probe.tries > 0:
		return promiseAgain
	}
	return promiseNew
}

// InDoubt reports whether the current path may be dead: it is being verified, or no path answers.
func (m *Machine) InDoubt() bool { return m.outage || m.cur.probe.why == tryVerify }

// before reports whether p is challenged before q.
func (m *Machine) before(now time.Time, p, q *path) bool {
	a, b := m.promise(now, p), m.promise(now, q)
	switch {
	case a != b:
		return a < b
	case p == m.cur || q == m.cur:
		return p == m.cur
	case p.proven != q.proven:
		return p.proven
	case p.Kind != q.Kind && p.proven:
		return p.Kind == Direct
	case (p.place > 0) != (q.place > 0):
		return p.place > 0
	}
	return p.place < q.place
}

// byPromise appends paths to buf, the most promising first.
func (m *Machine) byPromise(now time.Time, buf, paths []*path) []*path {
	for _, p := range paths {
		i := len(buf)
		buf = append(buf, p)
		for ; i > 0 && m.before(now, p, buf[i-1]); i-- {
			buf[i] = buf[i-1]
		}
		buf[i] = p
	}
	return buf
}

// pumpAll sends the challenges that are due, or ends the probes that have had theirs.
func (m *Machine) pumpAll(now time.Time) {
	var due, order [MaxPaths]*path
	n := 0
	for _, p := range m.paths {
		if p.probe.why != idle && !now.Before(p.probe.next) {
			due[n] = p
			n++
		}
	}
	for _, p := range m.byPromise(now, order[:0], due[:n]) {
		m.pump(now, p)
	}
}
