// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// SenderStats is a snapshot of the sending end of a flow, as of the last time the session's loop was busy. Counters
// count from the beginning of the flow; the parts of a message that was written count as messages.
type SenderStats struct {
	Queued      int // messages of which nothing has been sent
	QueuedBytes int // bytes that have not been sent
	InFlight    int // bytes that have been sent and are not acknowledged, those included that must be repeated

	// QueuedSince is when the oldest message was queued of which nothing has been sent, UnackedSince the same for the
	// oldest whose fate is open. Zero if there is none. They tell an encoder that it produces too much.
	QueuedSince  time.Time
	UnackedSince time.Time

	Sent      uint64 // messages begun
	Delivered uint64
	Abandoned [reasons]uint64 // by Reason

	Retransmitted      uint64 // fragments
	RetransmittedBytes uint64
	Blocked            bool   // the flow waits for the peer to read
	TimesBlocked       uint64 // that it had to
}

// QueueAge returns how long the oldest message has been waiting of which nothing has been sent.
func (st SenderStats) QueueAge(now time.Time) time.Duration { return age(now, st.QueuedSince) }

// UnackedAge returns how long the oldest message has been waiting whose fate is open.
func (st SenderStats) UnackedAge(now time.Time) time.Duration { return age(now, st.UnackedSince) }

func age(now, since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(now.Sub(since), 0)
}

// AllAbandoned returns how many messages were abandoned.
func (st SenderStats) AllAbandoned() (n uint64) {
	for _, k := range st.Abandoned {
		n += k
	}
	return n
}

// senderCounts are what the loop keeps of SenderStats.
type senderCounts struct {
	Queued, QueuedBytes, InFlight     int
	Sent, Delivered                   uint64
	Retransmitted, RetransmittedBytes uint64
	TimesBlocked                      uint64
	queuedSince, unackedSince         int64            // on the mux's clock; never: nothing
	abandoned                         *[reasons]uint64 // nil: none
	blocked                           bool
}

func (s *Sender) countAbandoned(reason Reason) {
	if s.stats.abandoned == nil {
		s.stats.abandoned = new([reasons]uint64)
	}
	s.stats.abandoned[reason]++
}

// Stats returns a snapshot.
func (s *Sender) Stats() SenderStats {
	m := s.m
	m.statsMu.Lock()
	defer m.statsMu.Unlock()
	c := &s.published
	st := SenderStats{
		Queued: c.Queued, QueuedBytes: c.QueuedBytes, InFlight: c.InFlight, Sent: c.Sent, Delivered: c.Delivered,
		Retransmitted: c.Retransmitted, RetransmittedBytes: c.RetransmittedBytes,
		Blocked: c.blocked, TimesBlocked: c.TimesBlocked,
	}
	if c.queuedSince != never {
		st.QueuedSince = m.epoch.Add(time.Duration(c.queuedSince))
	}
	if c.unackedSince != never {
		st.UnackedSince = m.epoch.Add(time.Duration(c.unackedSince))
	}
	if c.abandoned != nil {
		st.Abandoned = *c.abandoned
	}
	return st
}

// change notes that the stats of s have changed.
func (m *Mux) change(s *Sender) {
	if !s.changed {
		s.changed = true
		m.changed = append(m.changed, s)
	}
}

// publishSenders makes changed stats visible. statsMu must be locked.
func (m *Mux) publishSenders() {
	for i, s := range m.changed {
		m.changed[i], s.changed = nil, false
		c, was := &s.stats, s.published.abandoned
		c.blocked = s.blockedAt != 0
		c.unackedSince = s.queuedAt(&s.oldest, s.base, func(p *sendMsg) bool { return !p.done })
		c.queuedSince = s.queuedAt(&s.unstarted, s.next, func(p *sendMsg) bool { return !p.done && !p.started })
		s.published = *c
		if c.abandoned != nil {
			if was == nil {
				was = new([reasons]uint64)
			}
			*was = *c.abandoned
			s.published.abandoned = was
		}
	}
	m.changed = m.changed[:0]
}

// queuedAt returns when the first message was queued for which open holds. seq is where the last search ended, from is
// below what is sought.
func (s *Sender) queuedAt(seq *uint64, from uint64, open func(*sendMsg) bool) int64 {
	for *seq = max(*seq, from, s.base); *seq < s.queuedEnd(); *seq++ {
		if p := s.msgs.at(int(*seq - s.base)); open(p) {
			return p.at
		}
	}
	return never
}
