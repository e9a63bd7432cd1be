// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

const (
	// packetThreshold is how many later packets must have arrived before one counts as lost. RFC 9002 §6.1.1.
	packetThreshold = 3

	// persistentPTOs is for how many probe timeouts nothing may get through before congestion is persistent.
	// RFC 9002 §7.6.1.
	persistentPTOs = 3

	// probesPerPTO is how many packets may be sent when a probe timeout expires. RFC 9002 §6.2.4.
	probesPerPTO = 2

	// maxPTO bounds the back-off, so that a path that comes back is noticed soon.
	maxPTO = 10 * time.Second

	// maxTracked bounds how many packets are remembered.
	maxTracked = 1 << 17
)

// A lossState detects which packets arrived and which were lost, as RFC 9002 prescribes, and says when another may be
// sent. It calls fate for every packet whose fate becomes known.
type lossState struct {
	fate func(pn uint64, p *sentPacket, acked bool)

	sent         sentRing
	largestAcked int64 // -1: none
	eliciting    int   // ack-eliciting packets whose fate is awaited
	lastSent     time.Time
	lossAt       time.Time // when the earliest packet not yet lost will be, by time; zero: none
	backoff      int       // consecutive probe timeouts
	probes       int       // packets that may be sent regardless of the window

	// State of the path.
	rtt        rtt
	initialRTT time.Duration
	cc         Controller
	pacer      pacer
	maxPacket  int
	inFlight   int    // bytes
	pathStart  uint64 // first packet sent on this path; earlier ones say nothing about it
	limited    bool   // the window, or pacing, held sending back

	// A period in which all packets were lost. RFC 9002 §7.6.
	badStart, badEnd time.Time
	badNext          uint64

	lost uint64 // packets, ever
}

// packetSent records a packet. items are copied.
func (l *lossState) packetSent(now time.Time, pn uint64, size int, eliciting bool, items []item) {
	if l.sent.q.len() >= maxTracked {
		// A peer that receives but never acknowledges must not make us remember everything.
		l.lose(now, l.sent.base, l.sent.at(l.sent.base))
		l.sent.trim()
	}
	p := l.sent.push(pn)
	p.at, p.size, p.eliciting = now, size, eliciting
	p.items = append(p.items, items...)
	if !eliciting {
		// Nobody acknowledges it on its own account: it is remembered only as long as older packets are.
		if l.eliciting == 0 {
			l.sent.drop()
		} else if len(items) > 0 {
			p.state = packetInFlight
		}
		return
	}
	p.state = packetInFlight
	l.eliciting++
	l.lastSent = now
	l.inFlight += size
	if size > l.maxPacket {
		l.maxPacket = size
		l.cc.SetMaxPacket(size)
	}
	l.cc.HandleSent(now, pn, size, l.inFlight)
	l.pacer.sent(size)
	if l.probes > 0 {
		l.probes--
	}
}

// counts reports whether the packet is part of what is in flight on the present path.
func (l *lossState) counts(pn uint64, p *sentPacket) bool { return p.eliciting && pn >= l.pathStart }

// canSend reports whether a packet may be sent now. If only pacing forbids it, next says when it no longer will.
func (l *lossState) canSend(now time.Time) (ok bool, next time.Time) {
	cwnd := l.cc.Window()
	l.pacer.advance(now, cwnd, l.maxPacket, l.rtt.smoothed, l.cc.State().Phase == "slow start")
	if l.probes > 0 {
		return true, time.Time{} // RFC 9002 §6.2.4 and §7.5
	}
	// "An endpoint MUST NOT send a packet if it would cause bytes_in_flight to be larger than the congestion window."
	if l.inFlight+l.maxPacket > cwnd {
		return false, time.Time{}
	}
	if !l.pacer.canSend() {
		return false, l.pacer.next()
	}
	return true, time.Time{}
}

// handleAck handles an acknowledgement. RFC 9002 §A.7.
func (l *lossState) handleAck(now time.Time, a *wire.Ack) error {
	largest := a.Largest()
	if largest >= l.sent.next() {
		// "Receipt of an acknowledgment for a packet that was not sent". RFC 9000 §13.1.
		return &wire.ProtocolError{Code: wire.CodeAck, Reason: "ack of a packet that was not sent"}
	}
	l.largestAcked = max(l.largestAcked, int64(largest))
	// RFC 9002 §7.8: "the congestion window SHOULD NOT be increased" while it is not used.
	used := l.limited && 2*l.inFlight >= l.cc.Window()
	prior := l.inFlight
	var newest *sentPacket
	newestPN := uint64(0)
	anyEliciting := false
	news := congestion.Ack{Limited: used, PriorInFlight: prior}
	for _, r := range a.Ranges {
		if r.End <= l.sent.base {
			break
		}
		for pn := r.End; pn > max(r.Start, l.sent.base); pn-- {
			p := l.sent.at(pn - 1)
			if p.state != packetInFlight {
				continue
			}
			if newest == nil {
				newest, newestPN = p, pn-1
			}
			anyEliciting = anyEliciting || p.eliciting
			if l.counts(pn-1, p) {
				news.Bytes += p.size
				if news.Packets++; news.Packets == 1 {
					news.Largest, news.SentAt = pn-1, p.at
				}
			}
			l.acknowledge(pn-1, p)
		}
	}
	if newest == nil {
		return nil
	}
	// A sample is taken "when the largest acknowledged packet number is newly acknowledged, and at least one of the
	// newly acknowledged packets was ack-eliciting". RFC 9002 §5.1.
	if newestPN == largest && anyEliciting && largest >= l.pathStart {
		l.rtt.update(now, now.Sub(newest.at), min(a.Delay, wire.MaxAckDelay))
		news.RTT = l.rtt.latest
	}
	l.detect(now)
	if news.Packets > 0 {
		news.InFlight, news.MinRTT, news.SmoothedRTT = l.inFlight, l.rtt.min, l.rtt.smoothed
		l.cc.HandleAck(now, &news)
	}
	l.backoff, l.probes = 0, 0
	l.sent.trim()
	return nil
}

// acknowledge settles a packet that arrived.
func (l *lossState) acknowledge(pn uint64, p *sentPacket) {
	p.state = packetGone
	if p.eliciting {
		l.eliciting--
	}
	if l.counts(pn, p) {
		l.inFlight -= p.size
	}
	l.fate(pn, p, true)
}

// detect declares packets lost. RFC 9002 §6.1 and §A.10.
func (l *lossState) detect(now time.Time) {
	l.lossAt = time.Time{}
	if l.largestAcked < 0 {
		return
	}
	delay := l.rtt.lossDelay()
	congested := false
	for pn := l.sent.base; pn < l.sent.next() && pn <= uint64(l.largestAcked); pn++ {
		p := l.sent.at(pn)
		if p.state != packetInFlight {
			continue
		}
		lostAt := p.at.Add(delay)
		if uint64(l.largestAcked)-pn >= packetThreshold || !lostAt.After(now) {
			congested = l.lose(now, pn, p) || congested
			continue
		}
		if l.lossAt.IsZero() {
			l.lossAt = lostAt
		}
	}
	if congested {
		l.cc.HandlePersistentCongestion(now)
		l.rtt.min = l.rtt.latest // RFC 9002 §5.2
	}
}

// lose settles a packet that did not arrive and reports whether congestion is persistent.
func (l *lossState) lose(now time.Time, pn uint64, p *sentPacket) (persistent bool) {
	if p.state != packetInFlight {
		return false
	}
	p.state = packetGone
	if p.eliciting {
		l.eliciting--
		l.lost++
	}
	if l.counts(pn, p) {
		l.inFlight -= p.size
		l.cc.HandleLoss(now, &congestion.Loss{
			Bytes: p.size, Packets: 1, Largest: pn, SentAt: p.at, InFlight: l.inFlight, Prior: l.inFlight + p.size,
			SmoothedRTT: l.rtt.smoothed, LatestRTT: l.rtt.latest, MinRTT: l.rtt.min,
		})
	}
	// Losses are found in ascending order, and everything below pn is settled, so a run of losses with nothing
	// acknowledged between them shows as consecutive numbers. RFC 9002 §7.6.2.
	switch {
	case l.counts(pn, p) && !l.rtt.first.IsZero() && !p.at.Before(l.rtt.first):
		if pn != l.badNext || l.badStart.IsZero() {
			l.badStart = p.at
		}
		l.badEnd, l.badNext = p.at, pn+1
		if l.badEnd.Sub(l.badStart) > persistentPTOs*l.rtt.pto(wire.MaxAckDelay) {
			persistent = true
			l.badStart = p.at
		}
	case pn == l.badNext:
		l.badNext++
	}
	l.fate(pn, p, false)
	return persistent
}

// pto returns the probe timeout with its back-off. RFC 9002 §6.2.1.
func (l *lossState) pto() time.Duration {
	d := l.rtt.pto(wire.MaxAckDelay)
	return max(d, min(d<<min(l.backoff, 16), maxPTO))
}

// nextTimeout returns when handleTimeout has something to do.
func (l *lossState) nextTimeout() time.Time {
	switch {
	case !l.lossAt.IsZero():
		return l.lossAt
	case l.eliciting == 0 || l.probes > 0:
		return time.Time{}
	}
	return l.lastSent.Add(l.pto())
}

// handleTimeout declares losses by time, or grants probes and reports that it did. RFC 9002 §A.9.
func (l *lossState) handleTimeout(now time.Time) (probe bool) {
	at := l.nextTimeout()
	if at.IsZero() || at.After(now) {
		return false
	}
	if !l.lossAt.IsZero() {
		l.detect(now)
		l.sent.trim()
		return false
	}
	l.backoff++
	l.probes = probesPerPTO
	return true
}

// resetPath forgets what was known about the path. RFC 9000 §9.4. The round-trip time begins with a guess: what is known
// of the new path, or else the initial one.
func (l *lossState) resetPath(cc Controller, maxPacket int, guess time.Duration) {
	l.cc, l.maxPacket = cc, maxPacket
	if guess <= 0 {
		guess = l.initialRTT
	}
	l.rtt = newRTT(guess)
	l.pacer = pacer{}
	l.inFlight = 0
	l.pathStart = l.sent.next()
	l.badStart = time.Time{}
	l.backoff = 0
	l.limited = false
}
