// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"io"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// refuse rejects the flow, drops what has arrived of it and waits for the sender to stop.
func (m *Mux) refuse(r *Receiver, code wire.Code, err error) {
	if r.refusing || r.settled {
		return
	}
	r.refusing = true
	m.tellReject(r, code)
	m.dropHeld(r)
	m.handOutTo(r)
	r.gate.Lock()
	r.err = err
	r.rejected = true
	r.announceEnd()
	r.gate.Unlock(true)
	if r.hasEnd {
		m.settleUsed(r, r.endUsed)
		m.completeReceiver(r, err)
	}
}

func (m *Mux) tellReject(r *Receiver, code wire.Code) {
	r.rejectCode = uint64(code)
	r.reject.set()
	m.rejecting++
	m.control(r)
}

// dropHeld drops what has not been handed over and gives its credit back.
func (m *Mux) dropHeld(r *Receiver) {
	r.table.each(r.base, func(_ uint64, p *recvMsg) {
		m.giveBack(r, p.cost())
		m.freeMessage(p)
	})
	r.table, r.held = recvTable{}, queue[heldMsg]{}
	m.pieces -= len(r.gone)
	r.gone = nil
}

// settleUsed brings what the peer has used up to the total it announced; what never arrived is free again. The total
// has been checked.
func (m *Mux) settleUsed(r *Receiver, used uint64) {
	n := used - r.used
	r.used = used
	m.recvUsed += n
	m.giveBack(r, n)
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
	if seq < r.top {
		return violation(wire.CodeFlowState, "message after the end of its flow")
	}
	r.hasEnd, r.endSeq, r.endUsed = true, seq, used
	if r.refusing {
		m.settleUsed(r, used)
		m.completeReceiver(r, ErrClosed)
		return nil
	}
	return m.afterData(r)
}

// endReached completes a flow of which everything has been handed over or skipped.
func (m *Mux) endReached(r *Receiver) error {
	if r.used != r.endUsed {
		return violation(wire.CodeFlowState, "flow used less than it said")
	}
	m.completeReceiver(r, io.EOF)
	return nil
}

// handleAbort handles the announcement that nothing more will come.
func (m *Mux) handleAbort(r *Receiver, code, used uint64) error {
	if err := m.checkUsed(r, used); err != nil {
		return err
	}
	if r.maxWait > 0 && !r.refusing {
		m.deliverUpTo(r, r.top) // what is missing between them need not be waited for
	}
	m.dropHeld(r)
	m.settleUsed(r, used)
	m.completeReceiver(r, &AbortedError{Code: code})
	return nil
}

// completeReceiver takes the flow out of the tables: nothing follows what has been handed over.
func (m *Mux) completeReceiver(r *Receiver, err error) {
	m.dropHeld(r)
	m.handOutTo(r)
	r.settled = true
	delete(m.receivers, r.id)
	if m.lastReceiver == r {
		m.lastReceiver = nil
	}
	m.finished.Add(r.id, r.id+1)
	r.windowFact.clear()
	r.fail(err)
	m.traceReceiverClosed(r, err)
	m.collectReceiver(r) // it may be done with already
	m.updateSessionLimits()
}

// collectReceiver takes over what the application has done with r.
func (m *Mux) collectReceiver(r *Receiver) {
	r.gate.Lock()
	r.ready = false
	r.freed += r.consumed
	r.consumed, r.stats.freed = 0, r.freed
	rejected, code := r.rejected, r.code
	wanted, wait, reorder := r.wanted, r.wantedWait, r.reorder
	if r.finishing {
		wanted = Ordered
	}
	if rejected && code == uint64(wire.CodeFlowRefused) && r.settled && !r.retired && !r.reject.isSet() {
		m.tellReject(r, wire.CodeFlowRefused) // who has sent all may still wait for an answer
	}
	retire := r.complete && !r.retired && r.settled && r.taken && r.queue.len() == 0 && !r.reject.unsettled() && r.answers == 0
	r.retired = r.retired || retire
	r.gate.Unlock(r.readable())
	if retire {
		m.retired++
		if r.promised {
			m.answersDue--
		}
	}
	if rejected && !r.settled {
		m.refuse(r, wire.Code(code), ErrClosed)
	}
	m.setOrdering(r, wanted)
	if reorder {
		r.gate.Lock()
		r.reorder = r.wanted == Ordered && r.ordering != Ordered // it may have changed again
		r.gate.Unlock(r.readable())
	}
	m.setMaxWait(r, wait)
	m.updateWindow(r)
}
