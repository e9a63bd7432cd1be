// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A tuner finds out whether a window is what limits its sender: if a part of it is used up in less than twice as much
// time as the sender needs for that part when it sends a window per round trip, the window doubles. It settles at two
// to four times what the path and the reader can do in a round trip.
type tuner struct {
	at   time.Time // when the epoch began
	from uint64    // credit used up until then
}

// limits reports whether the window limits, at a time when its owner has used up total credit and is granted more.
func (t *tuner) limits(now time.Time, rtt time.Duration, total, window uint64) bool {
	n := total - min(total, t.from)
	if n < window/8 && !t.at.IsZero() {
		return false // too little to judge by
	}
	elapsed, first := now.Sub(t.at), t.at.IsZero()
	t.at, t.from = now, max(t.from, total)
	return !first && rtt > 0 && float64(elapsed)*float64(window) < 2*float64(rtt)*float64(n)
}

// measuredRTT returns the round-trip time, or zero if it has not been measured.
func (m *Mux) measuredRTT() time.Duration {
	smoothed, least := m.loss.RTT()
	if least == 0 {
		return 0
	}
	return smoothed
}

// use accounts for credit the peer has used.
func (m *Mux) use(r *Receiver, n uint64) error {
	if n > r.granted-r.used {
		return violation(wire.CodeFlowControl, "more than the flow's credit")
	}
	if n > m.recvLimit-m.recvUsed {
		return violation(wire.CodeFlowControl, "more than the session's credit")
	}
	if r.hasEnd && r.used+n > r.endUsed {
		return violation(wire.CodeFlowState, "flow used more than it said")
	}
	r.used += n
	m.recvUsed += n
	return nil
}

// giveBack notes that used credit is free again, though nobody has read what it was used for.
func (m *Mux) giveBack(r *Receiver, n uint64) {
	r.freed += n
	m.recvConsumed += n
}

// updateWindow grants credit on a flow if enough has been freed.
func (m *Mux) updateWindow(r *Receiver) {
	left, least := r.granted-r.used, r.window/2
	if r.granted == wire.InitialFlowWindow {
		least = wire.InitialFlowWindow * 3 / 4 // most flows are short and need no more than they start with
	}
	if left >= least || r.hasEnd || r.refusing || r.settled {
		return
	}
	// A message that is being assembled at the front does not count, or one larger than the window could never
	// arrive. The session's credit bounds it.
	freed := r.freed
	if r.table.n > 0 {
		if p := r.table.get(r.base, r.base); p != nil {
			freed += p.cost()
		}
	}
	if min(freed+r.window, wire.MaxVarint) <= r.granted {
		return // enough, or all there can be
	}
	if most := m.config.maxRecvWindow(); r.window < most && r.tune.limits(m.now, m.measuredRTT(), freed, r.window) {
		r.window = min(2*r.window, most)
		r.notifyAt.Store(r.window / 8)
	}
	r.granted = min(freed+r.window, wire.MaxVarint)
	m.tellWindow(r)
}

func (m *Mux) tellWindow(r *Receiver) {
	r.windowFact.set()
	m.control(r)
}

// control queues r for what it has to tell the sender.
func (m *Mux) control(r *Receiver) {
	if !r.inControl && !m.closed {
		r.inControl = true
		*m.controlq.push() = r
	}
}

// updateSessionLimits grants credit to all flows together, and new flows, if enough has been freed.
func (m *Mux) updateSessionLimits() {
	most := m.config.maxIncomingFlows()
	window, flows := min(m.recvConsumed+m.recvWindow, wire.MaxVarint), m.retired+most+m.answersDue
	if window >= m.recvLimit+m.recvWindow/8 || flows >= m.flowLimit+most/8 ||
		flows > m.flowLimit && m.flowLimit-min(m.flowLimit, m.topFlow) < most/8 || m.limits.pending() {
		if most := m.config.sessionWindow(); m.recvWindow < most && window > m.recvLimit &&
			m.recvTune.limits(m.now, m.measuredRTT(), m.recvConsumed, m.recvWindow) {
			m.recvWindow = min(2*m.recvWindow, most)
			window = min(m.recvConsumed+m.recvWindow, wire.MaxVarint)
		}
		m.recvLimit, m.flowLimit = max(m.recvLimit, window), max(m.flowLimit, flows)
		m.limits.set()
	}
}
