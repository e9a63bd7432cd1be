// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A sendMsg is a message whose fate is open, or whose abandonment the peer does not know of. What must reach the peer
// is reckoned in units: the bytes of the message, and one more for the fact that it ends there. So an empty message has
// one unit, and a message is delivered when all its units are acknowledged.
type sendMsg struct {
	buf     *buffer
	receipt *Receipt
	terms   *terms     // nil: reliable
	ranges  *fragments // never nil
	at      int64      // when the loop took it over, on the mux's clock
	sent    int        // units sent at least once, from the front; once abandoned, the credit used
	started bool       // credit for the message itself has been used
	done    bool       // delivered or abandoned
	skip    skipState  // if abandoned
}

// fragments are units of a message that came to different fates.
type fragments struct {
	acked rangeset.Set // acknowledged
	lost  rangeset.Set // to be sent again
}

// noFragments stands for those of the many messages that arrive as they were sent, in one packet. It is never changed.
var noFragments fragments

// fragments returns the fragments of p, to be changed.
func (m *Mux) fragments(p *sendMsg) *fragments {
	if p.ranges == &noFragments {
		if n := len(m.spareFragments); n > 0 {
			p.ranges, m.spareFragments[n-1] = m.spareFragments[n-1], nil
			m.spareFragments = m.spareFragments[:n-1]
		} else {
			p.ranges = new(fragments)
		}
	}
	return p.ranges
}

func (m *Mux) freeFragments(f *fragments) {
	if f != &noFragments && len(m.spareFragments) < 256 && cap(f.acked)+cap(f.lost) <= 256 {
		f.acked, f.lost = f.acked[:0], f.lost[:0]
		m.spareFragments = append(m.spareFragments, f)
	}
}

func (p *sendMsg) units() int { return len(p.buf.b) + 1 }

// bytesSent returns how many bytes have been sent at least once.
func (p *sendMsg) bytesSent() int { return min(p.sent, len(p.buf.b)) }

// message returns message seq, or nil if it is delivered or abandoned.
func (s *Sender) message(seq uint64) *sendMsg {
	if seq < s.base || seq-s.base >= uint64(s.msgs.len()) {
		return nil
	}
	if p := s.msgs.at(int(seq - s.base)); !p.done {
		return p
	}
	return nil
}

// queuedEnd returns the number following the last queued message.
func (s *Sender) queuedEnd() uint64 { return s.base + uint64(s.msgs.len()) }

// queueMessage takes over a message, whose number is the next.
func (m *Mux) queueMessage(s *Sender, out outgoing, now int64) {
	seq := s.queuedEnd()
	if s.msgs.ring == nil {
		s.msgs.ring = m.takeRing()
	}
	p := s.msgs.push()
	*p = sendMsg{buf: out.buf, receipt: out.receipt, terms: out.terms, ranges: &noFragments, at: now}
	s.stats.Queued++
	s.stats.QueuedBytes += len(out.buf.b)
	x := out.terms
	if x == nil {
		if !s.defaults.any() {
			return
		}
		x = termsPool.Get().(*terms)
		p.terms = x
	}
	x.s, x.seq, x.start, x.finish = s, seq, never, never
	if x.stream != nil {
		x.stream.left++
		return
	}
	x.start = setDeadline(now, x.startIn, s.defaults.startWithin)
	x.finish = setDeadline(now, x.finishIn, s.defaults.finishWithin)
	if x.transmits == 0 {
		x.transmits = s.defaults.transmits
	}
	m.deadlines.schedule(x)
	if x.hasKey {
		if old, ok := s.keys[x.key]; ok {
			m.supersede(s, old)
		}
		if s.keys == nil {
			s.keys = make(map[uint64]uint64)
		}
		s.keys[x.key] = seq
		s.manyKeys = s.manyKeys || len(s.keys) > 64
	}
	dead := false
	for i, parent := range x.parents[:x.nParents] {
		x.parents[i] = nil
		dead = m.depend(out.receipt, parent) || dead
	}
	if dead {
		m.abandon(s, seq, ParentAbandoned)
	}
}

// settleMessage resolves the receipt of message seq and releases what the message took up.
func (m *Mux) settleMessage(s *Sender, seq uint64, p *sendMsg, o Outcome, reason Reason, cause error) {
	r, x := p.receipt, p.terms
	if o == Delivered {
		m.count.MessagesDelivered++
		s.stats.Delivered++
	} else {
		m.count.MessagesAbandoned++
		s.countAbandoned(reason)
	}
	m.traceSettled(s, seq, p, o, reason)
	if x != nil {
		m.deadlines.remove(x)
		if x.hasKey && s.keys[x.key] == seq {
			delete(s.keys, x.key)
			if s.manyKeys && len(s.keys) == 0 {
				s.keys, s.manyKeys = nil, false
			}
		}
		if x.stream != nil && !x.stream.settled(o, x.more) {
			r = nil
		}
		x.free()
	}
	if r != nil {
		r.resolve(o, reason, cause)
		if r.parents != nil || r.children != nil {
			m.untie(r, o == Abandoned)
		}
	}
	p.buf.free()
	m.freeFragments(p.ranges)
	p.buf, p.receipt, p.terms, p.ranges, p.done = nil, nil, nil, nil, true
}

// dataAcked records that the peer has units [a, b) of message seq.
func (m *Mux) dataAcked(s *Sender, seq uint64, a, b int) {
	p := s.message(seq)
	if p == nil {
		return
	}
	if a > 0 || b < p.units() || len(p.ranges.acked) > 0 {
		f := m.fragments(p)
		news := b - a - int(f.acked.Count(uint64(a), uint64(b)))
		f.acked.Add(uint64(a), uint64(b))
		if len(f.lost) > 0 {
			f.lost.Remove(uint64(a), uint64(b))
			if len(f.lost) == 0 {
				s.resend.Remove(seq, seq+1)
			}
		}
		if !f.acked.Covers(0, uint64(p.units())) {
			m.free(s, news)
			s.stats.InFlight -= news
			return
		}
		m.free(s, news-1) // the last unit is no byte
		s.stats.InFlight -= news - 1
	} else {
		m.free(s, b-1)
		s.stats.InFlight -= b - 1
		if len(p.ranges.lost) > 0 {
			s.resend.Remove(seq, seq+1)
		}
	}
	m.free(s, wire.MessageCost)
	m.settleMessage(s, seq, p, Delivered, NotAbandoned, nil)
	m.trim(s)
	m.maybeFinish(s)
}

// trim drops messages from the front of which nothing is to be told any more.
func (m *Mux) trim(s *Sender) {
	for s.msgs.len() > 0 {
		if p := s.msgs.at(0); !p.done || p.skip == skipUntold || p.skip == skipTold {
			return
		}
		s.msgs.pop()
		s.base++
	}
	m.giveRing(s)
}

// maxIdleRing is how many slots of a queue a flow keeps that has nothing in it.
const maxIdleRing = 4096

// giveRing takes back the ring of an empty queue, if it is of the smallest size, which idle flows need not keep, or so
// large that hardly any flow needs it again.
func (m *Mux) giveRing(s *Sender) {
	switch n := len(s.msgs.ring); {
	case n == leastRing:
		if len(m.spareRings) < 256 {
			m.spareRings = append(m.spareRings, s.msgs.ring)
		}
	case n <= maxIdleRing:
		return
	}
	s.msgs = queue[sendMsg]{}
}

// takeRing returns a ring that giveRing took, or nil.
func (m *Mux) takeRing() (ring []sendMsg) {
	if n := len(m.spareRings); n > 0 {
		ring, m.spareRings[n-1] = m.spareRings[n-1], nil
		m.spareRings = m.spareRings[:n-1]
	}
	return ring
}

// dataLost arranges for units [a, b) of message seq, which were sent as transmission tx, to be sent again, as far as
// they have not arrived. If they may not be, the message is abandoned; but not if the loss is only feared, because a
// probe is due: then they are left to their fate, which lastLost hears of.
func (m *Mux) dataLost(s *Sender, seq uint64, a, b, tx int, feared bool) {
	p := s.message(seq)
	if p == nil {
		return
	}
	if x := p.terms; x != nil && x.last(tx) {
		if !feared {
			m.lastLost(s, seq, a, b, tx)
		}
		return
	}
	f := m.fragments(p)
	f.lost.Add(uint64(a), uint64(b))
	for _, r := range f.acked.Within(uint64(a), uint64(b)) { // elsewhere nothing is both
		f.lost.Remove(r.Start, r.End)
	}
	if len(f.lost) > 0 {
		s.resend.Add(seq, seq+1)
		m.sched.add(s)
	}
}

// lastLost abandons message seq if transmission tx of units [a, b), which has been lost, was their last.
func (m *Mux) lastLost(s *Sender, seq uint64, a, b, tx int) {
	p := s.message(seq)
	if p == nil || p.terms == nil || !p.terms.last(tx) {
		return
	}
	x := p.terms
	for a < b {
		times, end := x.timesSent(a, b)
		if times == tx && !p.ranges.acked.Covers(uint64(a), uint64(end)) {
			reason := TransmitLimit
			if x.superseded {
				reason = Superseded
			}
			m.abandon(s, seq, reason)
			return
		}
		a = end
	}
}

// supersede makes way for a newer message with the key of message seq.
func (m *Mux) supersede(s *Sender, seq uint64) {
	p := s.message(seq)
	if p == nil {
		return
	}
	p.terms.superseded = true
	if !p.started || len(p.ranges.lost) > 0 {
		m.abandon(s, seq, Superseded)
	}
}
