// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/seed-98f0d4c2/runnel/internal/wire"

// handleSkip handles the announcement that messages which are not complete are abandoned. docs/PROTOCOL.md §9, Skips.
func (m *Mux) handleSkip(r *Receiver, s *wire.FlowSkip) error {
	if r.refusing {
		return nil
	}
	m.touch(r)
	for {
		seq, used, ok := s.Next()
		if !ok {
			break
		}
		if r.hasEnd && seq >= r.endSeq {
			return violation(wire.CodeFlowState, "skip of a message after the end of its flow")
		}
		r.top = max(r.top, seq+1)
		if r.settledNumber(seq) {
			continue
		}
		if err := m.skip(r, seq, used); err != nil {
			return err
		}
	}
	m.handOver(r)
	m.updateSessionLimits()
	return m.afterData(r)
}

// skip drops one message, if it is not complete, and gives its credit back.
func (m *Mux) skip(r *Receiver, seq, used uint64) error {
	var have, past uint64
	p := r.table.get(r.base, seq)
	if p != nil {
		if p.complete() {
			p.cut = true
			return nil
		}
		have, past = p.used(), uint64(p.past)
		if p.total >= 0 && used > have {
			return violation(wire.CodeFlowState, "skipped message used more than its length")
		}
	}
	if used < have || used > 0 && used < wire.MessageCost {
		return violation(wire.CodeFlowState, "skipped message used less than it sent")
	}
	if err := m.use(r, used-have); err != nil {
		return err
	}
	if p != nil {
		r.table.remove(r.base, seq)
		m.freeMessage(p)
	}
	m.giveBack(r, used-past)
	r.count.Skipped++
	return m.settleNumber(r, seq)
}
