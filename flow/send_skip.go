// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/seed-98f0d4c2/runnel/internal/wire"

// A skipState says what the peer knows of a message that was abandoned.
type skipState uint8

const (
	skipNone   skipState = iota // the message was not abandoned
	skipUntold                  // nothing
	skipTold                    // a packet that says so is in flight
	skipKnown                   // that it was abandoned
)

// A skipRun is a run of messages some of which the peer must be told were abandoned.
type skipRun struct {
	first uint64
	n     uint64
}

// maxGaps is how many messages of a flow may be abandoned without the peer knowing before Send blocks: each takes up a
// place in the queue, and an unreachable peer must not make that grow for ever.
const maxGaps = 1 << 14

// addSkip notes that n messages from first on are to be told.
func (s *Sender) addSkip(first, n uint64) {
	if k := s.skips.len(); k > 0 {
		if last := s.skips.at(k - 1); last.first+last.n == first {
			last.n += n
			return
		}
	}
	*s.skips.push() = skipRun{first, n}
}

// skipped returns message seq if it was abandoned and the peer may not know.
func (s *Sender) skipped(seq uint64) *sendMsg {
	if seq < s.base || seq-s.base >= uint64(s.msgs.len()) {
		return nil
	}
	if p := s.msgs.at(int(seq - s.base)); p.skip == skipUntold || p.skip == skipTold {
		return p
	}
	return nil
}

// appendSkips tells the peer which messages were abandoned. docs/PROTOCOL.md §9, Skips.
func (m *Mux) appendSkips(s *Sender, b []byte, limit int) (_ []byte, full bool) {
	for s.skips.len() > 0 {
		r := s.skips.at(0)
		for r.n > 0 && !s.untold(r.first) {
			r.first, r.n = r.first+1, r.n-1
		}
		used := m.skipUsed[:0]
		for i := uint64(0); i < r.n && len(used) < limit && s.untold(r.first+i); i++ {
			used = append(used, uint64(s.skipped(r.first+i).sent))
		}
		m.skipUsed = used
		if len(used) > 0 {
			var n int
			if b, n = wire.AppendFlowSkip(b, s.open.Flow, r.first, used, limit); n == 0 {
				return b, true
			}
			for i := range uint64(n) {
				s.skipped(r.first + i).skip = skipTold
			}
			m.record(item{kind: itemSkip, s: s, seq: r.first, a: n})
			r.first, r.n = r.first+uint64(n), r.n-uint64(n)
		}
		if r.n == 0 {
			s.skips.pop()
		}
	}
	return b, false
}

func (s *Sender) untold(seq uint64) bool {
	p := s.skipped(seq)
	return p != nil && p.skip == skipUntold
}

// skipAcked records that the peer knows that n messages from first on were abandoned.
func (m *Mux) skipAcked(s *Sender, first uint64, n int) {
	for seq := first; seq < first+uint64(n); seq++ {
		if p := s.skipped(seq); p != nil {
			p.skip = skipKnown
			s.gaps--
			m.free(s, 0)
		}
	}
	m.trim(s)
	m.maybeFinish(s)
}

// skipLost arranges for the peer to be told again.
func (m *Mux) skipLost(s *Sender, first uint64, n int) {
	for seq := first; seq < first+uint64(n); seq++ {
		if p := s.skipped(seq); p != nil && p.skip == skipTold {
			p.skip = skipUntold
			s.addSkip(seq, 1)
			m.sched.add(s)
		}
	}
}
