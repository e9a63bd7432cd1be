// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"math"
	"slices"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// refuse rejects the flow, drops what has arrived of it and waits for the sender to stop.
func (m *Mux) refuse(r *Receiver, code wire.Code, err error) {
	if r.refusing || r.settled {
		return
	}
	r.refusing = true
	r.rejectCode = uint64(code)
	r.reject.set()
	m.rejecting++
	m.control(r)
	for seq, p := range r.messages {
		m.recvConsumed += p.cost()
		r.dropped += p.cost()
		delete(r.messages, seq)
		m.freeMessage(p)
	}
	r.gate.Lock()
	r.err = err
	r.rejected = true
	r.gate.Unlock(true)
	if r.hasEnd {
		m.settleUsed(r, r.endUsed)
		m.completeReceiver(r, err)
	}
}

// settleUsed brings what the peer has used up to the total it announced; what never arrived is free again. The total
// has been checked.
func (m *Mux) settleUsed(r *Receiver, used uint64) {
	n := used - r.used
	r.used = used
	r.dropped += n
	m.recvUsed += n
	m.recvConsumed += n
}

// checkUsed checks a total of used credit that the peer announces.
func (m *Mux) checkUsed(r *Receiver, used uint64) error {
	if used < r.used {
		return violation(wire.CodeFlowState, "flow used less than it sent")
	}
	if used > r.granted || used-r.used > m.recvLimit-m.recvUsed {
		return violation(wire.CodeFlowControl, "flow used more than its credit")
	}
	return nil
}

// handleEnd handles the announcement that the flow has no more than seq messages.
func (m *Mux) handleEnd(r *Receiver, seq, used uint64) error {
	if r.hasEnd {
		if seq != r.endSeq || used != r.endUsed {
			return violation(wire.CodeFlowState, "flow with two ends")
		}
		return nil
	}
	if err := m.checkUsed(r, used); err != nil {
		return err
	}
	if seq < r.next || seq < r.forward {
		return violation(wire.CodeFlowState, "message after the end of its flow")
	}
	for s := range r.messages {
		if s >= seq {
			return violation(wire.CodeFlowState, "message after the end of its flow")
		}
	}
	r.hasEnd, r.endSeq, r.endUsed = true, seq, used
	if r.refusing {
		m.settleUsed(r, used)
		m.completeReceiver(r, ErrClosed)
		return nil
	}
	return m.afterData(r)
}

// handleAbort handles the announcement that nothing more will come.
func (m *Mux) handleAbort(r *Receiver, code, used uint64) error {
	if err := m.checkUsed(r, used); err != nil {
		return err
	}
	for _, p := range r.messages {
		m.recvConsumed += p.cost()
		r.dropped += p.cost()
		m.freeMessage(p)
	}
	r.messages = nil
	m.settleUsed(r, used)
	m.completeReceiver(r, &AbortedError{Code: code})
	return nil
}

// handleForward handles the announcement that messages below seq which are incomplete are abandoned, all of them
// having used the given credit.
func (m *Mux) handleForward(r *Receiver, seq, used uint64) error {
	if r.hasEnd && seq > r.endSeq {
		return violation(wire.CodeFlowState, "forwarded past the end of the flow")
	}
	if seq <= r.forward || seq <= r.next || r.refusing {
		r.forward = max(r.forward, seq)
		return nil
	}
	// Hand over what is complete below seq and drop the rest.
	below := make([]uint64, 0, min(uint64(len(r.messages)), seq-r.next))
	if seq-r.next < uint64(len(r.messages)) {
		for s := r.next; s < seq; s++ {
			if r.messages[s] != nil {
				below = append(below, s)
			}
		}
	} else {
		for s := range r.messages {
			if s < seq {
				below = append(below, s)
			}
		}
		slices.Sort(below)
	}
	var partial uint64
	for _, s := range below {
		p := r.messages[s]
		delete(r.messages, s)
		if p.complete() {
			r.next = s
			m.deliver(r, p.buf)
		} else {
			partial += p.cost()
		}
		m.freeMessage(p)
	}
	r.next, r.forward = seq, seq
	// used = handed over + dropped, of which the part in partial has been accounted for as used already.
	accounted := r.handedOver + r.dropped + partial
	if used < accounted || used > math.MaxInt64 {
		return violation(wire.CodeFlowState, "flow used less than it sent")
	}
	if err := m.use(r, used-accounted); err != nil {
		return err
	}
	dropped := used - r.handedOver - r.dropped
	r.dropped += dropped
	r.freed += dropped
	m.recvConsumed += dropped
	m.updateSessionLimits()
	m.handOver(r)
	return m.afterData(r)
}

// completeReceiver takes the flow out of the tables: nothing follows what has been handed over.
func (m *Mux) completeReceiver(r *Receiver, err error) {
	r.settled = true
	delete(m.receivers, r.id)
	if m.lastReceiver == r {
		m.lastReceiver = nil
	}
	m.finished.Add(r.id, r.id+1)
	r.messages = nil
	r.window.clear()
	r.fail(err)
	m.collectReceiver(r) // it may be done with already
	m.updateSessionLimits()
}
