// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"net/netip"
	"strconv"
	"time"
)

// better reports whether a session should leave path cur for path p. This is the only place where paths are
// compared, and no two paths are better than each other.
//
// A path that works beats one that does not. One that loses hardly anything beats one that loses a quarter, and one
// that loses much beats nothing. A direct path beats a relayed one. Of direct paths one in the local network beats one
// by way of the internet, and IPv6 (few NATs, none of which forgets) beats IPv4, if it takes hardly longer. Among
// equals the round-trip time of p must be lower by margin and by an eighth. An unmeasured path neither wins nor loses
// by its time.
func better(p, cur Path, margin time.Duration) bool {
	switch {
	case p.Validated != cur.Validated:
		return p.Validated
	case cur.Loss > lossBad && p.Loss < lossGood:
		return true
	case p.Loss > lossBack && p.Loss > cur.Loss+lossGood:
		return false
	case p.Kind != cur.Kind:
		return p.Kind == Direct
	case p.RTT == 0 || cur.RTT == 0:
		return false
	}
	if p.Kind == Direct {
		switch a, b := classOf(p.Remote.Addr()), classOf(cur.Remote.Addr()); {
		case a > b && p.RTT <= cur.RTT+worth[a]:
			return true
		case a < b: // and not so little less that the session would return
			margin = max(margin, classMargin)
		}
	}
	return p.RTT < cur.RTT-max(margin, cur.RTT/8)
}

// Classes of addresses, the better ones last.
const (
	classIPv4 = iota
	classIPv6
	classLocal // private or link-local: we reach the peer without a NAT in between, or not at all
)

// worth is how much longer a path of a class may take than one of a lower class.
var worth = [...]time.Duration{classIPv6: 10 * time.Millisecond, classLocal: 0}

// classMargin is more than any worth.
const classMargin = 20 * time.Millisecond

func classOf(a netip.Addr) int {
	switch {
	case a.IsPrivate() || a.IsLinkLocalUnicast():
		return classLocal
	case a.Is6():
		return classIPv6
	}
	return classIPv4
}

// worseKind reports whether p is of a kind that a session would not choose over that of q.
func worseKind(p, q *path) bool { return p.Kind == Relayed && q.Kind == Direct }

// betterKind is the opposite; two paths of one kind are neither.
func betterKind(p, q *path) bool { return p.Kind == Direct && q.Kind == Relayed }

// reconsider moves the session to the best path if that is better than the current one.
func (m *Machine) reconsider(now time.Time) {
	best := m.cur
	measure := false
	for _, p := range m.paths {
		if p == m.cur || !p.valid || now.Before(p.heldUntil) || now.Sub(p.lastAnswer) > fresh {
			continue
		}
		if better(p.snapshot(false), best.snapshot(false), m.c.hysteresis()) {
			if !p.lastAsked.Before(m.movedAt) {
				best = p
			} else if p.probe.why == idle {
				m.start(now, p, tryStandby) // that was before the ground moved
			}
		} else if p.Kind == m.cur.Kind && m.cur.rtt == 0 {
			measure = true
		}
	}
	switch {
	case best == m.cur:
		if measure {
			m.start(now, m.cur, tryMeasure)
		}
	case betterKind(best, m.cur) && m.cur.loss <= lossBad:
		m.switchTo(now, best, "the "+best.String()+" answered and needs no relay")
	case !m.cur.valid && m.cur.probe.why == tryCandidate:
		// It is the first path of the session and its own answer is under way.
	case !m.cur.valid:
		m.switchTo(now, best, "the "+best.String()+" answered and the "+m.cur.String()+" does not")
	case now.Sub(m.cur.lastAnswer) > fresh:
		m.start(now, m.cur, tryMeasure) // compare with what it is now, not with what it was
	case now.Sub(m.switchedAt) >= dwell && m.cur.loss > lossBad && best.loss < lossGood:
		m.switchTo(now, best, "the "+best.String()+" loses "+percent(best.loss)+", the "+m.cur.String()+" "+percent(m.cur.loss))
	case now.Sub(m.switchedAt) >= dwell:
		m.switchTo(now, best, "the "+best.String()+" takes "+ms(best.rtt)+", the "+m.cur.String()+" takes "+ms(m.cur.rtt))
	}
}

func percent(f float64) string { return strconv.Itoa(int(100*f+0.5)) + " %" }

func ms(d time.Duration) string { return d.Round(time.Millisecond).String() }
