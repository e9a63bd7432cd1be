// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/seed-98f0d4c2/runnel/internal/wire"

// abandon gives up message seq, unless its fate is known. The peer will be told. Whoever calls it makes sure that
// returnBuffers is called in the end.
func (m *Mux) abandon(s *Sender, seq uint64, reason Reason) {
	p := s.message(seq)
	if p == nil {
		return
	}
	size, sent, acked := len(p.buf.b), p.bytesSent(), int(p.ranges.acked.Size())
	used := 0
	if p.started {
		used = wire.MessageCost + sent
		s.stats.InFlight -= sent - min(acked, sent)
		// What it would still have used of the session's credit, others may.
		m.sendReserved -= uint64(size - sent)
		m.unreserved = m.unreserved || sent < size
	} else {
		s.stats.Queued--
	}
	s.stats.QueuedBytes -= size - sent
	m.free(s, size-min(acked, size)+wire.MessageCost)
	if len(p.ranges.lost) > 0 {
		s.resend.Remove(seq, seq+1)
	}
	m.settleMessage(s, seq, p, Abandoned, reason, nil)
	p.skip, p.sent = skipUntold, used
	s.gaps++
	if seq < s.next {
		s.addSkip(seq, 1)
	}
	if seq == s.next {
		s.passOver()
		m.unblock(s)
		m.sessionWait.remove(s)
	}
	m.sched.add(s)
}

// passOver moves on to the next message that is to be sent. The peer is told of those that were abandoned on the way:
// not before, because it does not wait for them as long as nothing behind them has been sent, and would have to
// remember every one that stands alone.
func (s *Sender) passOver() {
	for end := s.queuedEnd(); s.next < end; s.next++ {
		p := s.msgs.at(int(s.next - s.base))
		if !p.done {
			return
		}
		if p.skip == skipUntold {
			s.addSkip(s.next, 1)
		}
	}
}

// grant does what the application asks for about r.
func (m *Mux) grant(r *Receipt, a ask) {
	p := r.s.message(r.seq)
	if p == nil || p.receipt != r {
		return
	}
	if a.withdraw {
		if p.terms == nil || p.terms.stream == nil {
			m.abandon(r.s, r.seq, Withdrawn)
		}
		return
	}
	x := p.terms
	if x == nil {
		x = termsPool.Get().(*terms)
		x.s, x.seq, x.started = r.s, r.seq, p.started
		p.terms = x
	}
	if x.stream != nil {
		return
	}
	x.start, x.finish = never, never
	if !a.start.IsZero() {
		x.start = m.clock(a.start)
	}
	if !a.finish.IsZero() {
		x.finish = m.clock(a.finish)
	}
	m.deadlines.schedule(x)
}

// startTerms notes that some of the message has been sent.
func (m *Mux) startTerms(x *terms) {
	x.started = true
	if x.index != 0 {
		m.deadlines.schedule(x)
	}
}
