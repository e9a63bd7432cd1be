// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
)

// detect declares packets lost. RFC 9002 §6.1 and §A.10.
func (t *Tracker[T]) detect() {
	t.lossAt = 0
	p := &t.path
	delay := p.reorder.delay(p.rtt.reference())
	persistent := false
	for i := range t.sent.n {
		s := t.sent.at(i)
		if int64(s.pn) > t.largestAcked {
			break
		}
		if s.state != slotInFlight {
			if s.state == slotAcked {
				p.bad.arrived(s.pn)
			}
			continue
		}
		byNumber := uint64(t.largestAcked)-s.pn >= p.reorder.packets
		if !byNumber && s.at+delay > t.now {
			t.lossAt = s.at + delay // what follows was sent later
			break
		}
		persistent = t.lose(s, !byNumber) || persistent
	}
	t.reportLoss()
	if persistent {
		p.cc.HandlePersistentCongestion(t.time(t.now))
		p.observe()
		p.rtt.setMin(t.now, p.rtt.latest) // RFC 9002 §5.2
	}
}

// lose settles a packet that did not arrive and reports whether congestion is persistent. Losses are found in ascending
// order.
func (t *Tracker[T]) lose(s *packet[T], byTime bool) (persistent bool) {
	if s.state != slotInFlight {
		return false
	}
	s.state = slotLost
	t.traceLost(s)
	p, pn, size := &t.path, s.pn, int(s.size)
	onPath := pn >= p.start
	if onPath && s.flags&flagMarked != 0 {
		p.ecn.packetLost()
	}
	switch {
	case s.flags&flagMTUProbe != 0:
		// "The loss of a probe packet is not treated as an indication of congestion". RFC 8899 §3, 7.
		if p.mtu.flying && p.mtu.pn == pn {
			p.mtu.probeLost()
		}
		return false
	case s.flags&flagEliciting == 0:
	default:
		t.eliciting--
		t.stats.Lost++
		if onPath {
			persistent = t.loseInFlight(pn, s, size)
		}
	}
	if t.fate != nil && len(s.items) > 0 {
		fate := Lost
		if s.flags&flagRepeated != 0 {
			fate = LostRepeated
		}
		t.fate(pn, s.items, fate)
	}
	if s.flags&flagEliciting != 0 {
		l := lostPacket[T]{pn: pn, at: s.at, lostAt: t.now, items: s.items, size: s.size, byTime: byTime}
		if onPath {
			l.episode = p.episode.id
		}
		t.lost.push(l, &t.spare)
		s.items = nil
	}
	t.release(s)
	return persistent
}

// loseInFlight accounts for a loss on the path in use.
func (t *Tracker[T]) loseInFlight(pn uint64, s *packet[T], size int) (persistent bool) {
	p := &t.path
	l := &t.loss
	if l.Packets == 0 {
		l.Prior = p.inFlight
	}
	t.fates[1]++
	p.inFlight -= size
	p.rate.lost += uint64(size)
	l.Bytes += size
	l.Packets++
	l.Largest, l.SentAt = pn, t.time(s.at)
	if p.episode.add(pn, t.next, s.at) {
		p.reorder.episode()
	}
	if p.mtu.packetLost(t.now, pn, size) {
		p.setMTU()
	}
	return p.bad.lost(pn, s.at, &p.rtt)
}

// reportLoss tells the controller of the losses found.
func (t *Tracker[T]) reportLoss() {
	l := &t.loss
	if l.Packets == 0 {
		return
	}
	p := &t.path
	l.InFlight = p.inFlight
	l.SmoothedRTT, l.LatestRTT, l.MinRTT = p.rtt.smoothed, p.rtt.latest, p.rtt.min()
	p.cc.HandleLoss(t.time(t.now), l)
	p.observe()
	*l = congestion.Loss{}
}

// PTO returns the probe timeout: how long an answer may reasonably take, the peer's delay included. RFC 9002 §6.2.1.
func (t *Tracker[T]) PTO() time.Duration { return t.path.rtt.pto() }

// backedOff returns the probe timeout with its back-off. Round-trip times are bounded, so that it does not overflow.
func (t *Tracker[T]) backedOff() time.Duration {
	return min(t.PTO()<<min(t.backoff, 16), MaxPTO)
}

func (t *Tracker[T]) nextTimeout() instant {
	switch {
	case t.lossAt != 0:
		return t.lossAt
	case t.eliciting == 0 || t.probes > 0:
		return 0
	}
	return t.path.lastSent + t.backedOff()
}

// NextTimeout returns when HandleTimeout has something to do; zero: not before something happens.
func (t *Tracker[T]) NextTimeout() time.Time { return t.time(t.nextTimeout()) }

// HandleTimeout declares losses by time, or grants probes. RFC 9002 §A.9.
func (t *Tracker[T]) HandleTimeout(now time.Time) {
	t.clock(now)
	// The time asked about may be one that has passed: what has arrived since may have yet to be handled.
	at := t.nextTimeout()
	if at == 0 || at > now.Sub(t.start) {
		return
	}
	if t.lossAt != 0 {
		t.detect()
		t.trim()
		return
	}
	t.backoff++
	t.stats.PTOs++
	t.path.ecn.timeout()
	t.grantProbes(probesPerPTO)
}

// grantProbes lets two packets leave regardless of the window and has what the oldest in flight say repeated, that of so
// many of them. Their fate stays open. RFC 9002 §6.2.4.
func (t *Tracker[T]) grantProbes(repeat int) {
	t.probes = probesPerPTO
	n := 0
	for i := 0; i < t.sent.n && n < repeat; i++ {
		s := t.sent.at(i)
		if s.state != slotInFlight || s.flags&(flagEliciting|flagRepeated) != flagEliciting {
			continue
		}
		n++
		s.flags |= flagRepeated
		if t.fate != nil && len(s.items) > 0 {
			t.fate(s.pn, s.items, Repeat)
		}
	}
}
