// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A sendMsg is a message whose fate is open, or whose abandonment the peer does not know of. What must reach the peer is
// reckoned in units: the bytes of the message, and one more for the fact that it ends there. So an empty message has one
// unit, and a message is delivered when all its units are acknowledged.
type sendMsg struct {
	buf     *buffer
	receipt *Receipt
	terms   *terms       // nil: reliable
	sent    int          // units sent at least once, from the front
	acked   rangeset.Set // units acknowledged
	lost    rangeset.Set // units to be sent again
	at      int64        // when the loop took it over, on the mux's clock
	used    uint64       // credit used, once abandoned
	started bool         // credit for the message itself has been used
	done    bool         // delivered or abandoned
	skip    skipState    // if abandoned
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
	p := s.msgs.push()
	*p = sendMsg{buf: out.buf, receipt: out.receipt, terms: out.terms, at: now, acked: p.acked[:0], lost: p.lost[:0]}
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
	p.buf, p.receipt, p.terms, p.done = nil, nil, nil, true
	p.acked, p.lost = p.acked[:0], p.lost[:0]
}

// dataAcked records that the peer has units [a, b) of message seq.
func (m *Mux) dataAcked(s *Sender, seq uint64, a, b int) {
	p := s.message(seq)
	if p == nil {
		return
	}
	if a > 0 || b < p.units() || len(p.acked) > 0 {
		before := int(p.acked.Size())
		p.acked.Add(uint64(a), uint64(b))
		size := int(p.acked.Size())
		if len(p.lost) > 0 {
			p.lost.Remove(uint64(a), uint64(b))
			if len(p.lost) == 0 {
				s.resend.Remove(seq, seq+1)
			}
		}
		if size < p.units() {
			m.free(s, size-before)
			s.stats.InFlight -= size - before
			return
		}
		m.free(s, size-before-1) // the last unit is no byte
		s.stats.InFlight -= size - before - 1
	} else {
		m.free(s, b-1)
		s.stats.InFlight -= b - 1
		if len(p.lost) > 0 {
			s.resend.Remove(seq, seq+1)
		}
	}
	m.free(s, wire.MessageCost)
	m.settleMessage(s, seq, p, Delivered, NotAbandoned, nil)
	s.trim()
	m.maybeFinish(s)
}

// trim drops messages from the front of which nothing is to be told any more.
func (s *Sender) trim() {
	for s.msgs.len() > 0 {
		if p := s.msgs.at(0); !p.done || p.skip == skipUntold || p.skip == skipTold {
			return
		}
		s.msgs.pop()
		s.base++
	}
	if len(s.msgs.ring) > maxIdleRing {
		s.msgs = queue[sendMsg]{}
	}
}

// maxIdleRing is how many slots of a queue a flow keeps that has nothing in it.
const maxIdleRing = 4096

// dataLost arranges for units [a, b) of message seq, which were sent as transmission tx, to be sent again, as far as they
// have not arrived. If they may not be, the message is abandoned; but not if the loss is only feared, because a probe
// is due: then they are left to their fate, which lastLost hears of.
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
	p.lost.Add(uint64(a), uint64(b))
	for _, r := range p.acked {
		p.lost.Remove(r.Start, r.End)
	}
	if len(p.lost) > 0 {
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
		if times == tx && !p.acked.Covers(uint64(a), uint64(end)) {
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
	if !p.started || len(p.lost) > 0 {
		m.abandon(s, seq, Superseded)
	}
}
