// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "slices"

// mayPass reports whether message seq is handed over as soon as it is complete.
func (r *Receiver) mayPass(seq uint64) bool {
	return seq >= r.floor && (seq <= r.front || r.ordering != Ordered)
}

// setOrdering changes the order from now on.
func (m *Mux) setOrdering(r *Receiver, o Ordering) {
	if r.ordering == o {
		return
	}
	r.ordering, r.held = o, queue[heldMsg]{}
	switch o {
	case Arrival:
		m.deliverUpTo(r, r.top)
		return
	case Latest:
		m.startLatest(r)
		return
	}
	// What has not been read goes back behind the gaps.
	r.front = r.gone.Next(max(r.base, r.floor))
	m.handOutTo(r)
	r.gate.Lock()
	for _, msg := range r.queue.takeSorted() {
		if msg.Seq < r.front || r.settled {
			*r.queue.push() = msg
			continue
		}
		p := m.newMessage()
		p.buf, p.total, p.more, p.cut, p.at = msg.buf, len(msg.Data), msg.More, msg.cut, msg.at
		p.have.Add(0, uint64(p.total))
		m.pieces -= len(r.gone)
		r.gone.Remove(msg.Seq, msg.Seq+1)
		m.pieces += len(r.gone)
		r.table.put(r.base, msg.Seq, p)
		r.count.Messages--
		r.count.Bytes -= uint64(len(msg.Data))
		m.count.MessagesReceived--
		m.count.BytesReceived -= uint64(len(msg.Data))
	}
	r.gate.Unlock(r.readable())
	r.gatherHeld()
	m.awaitGap(r)
}

// deliverUpTo delivers the complete messages with numbers below end, in order, whatever is missing between them.
func (m *Mux) deliverUpTo(r *Receiver, end uint64) {
	var seqs []uint64
	r.table.each(r.base, func(seq uint64, p *recvMsg) {
		if seq < end && p.complete() {
			seqs = append(seqs, seq)
		}
	})
	m.deliverAll(r, seqs)
}

// deliverAll delivers complete messages of the table, in order.
func (m *Mux) deliverAll(r *Receiver, seqs []uint64) {
	slices.Sort(seqs)
	for _, seq := range seqs {
		if r.ordering == Ordered {
			r.front = max(r.front, seq)
		}
		// Too many ranges of numbers: the next chunk of the flow that adds one ends the session.
		_ = m.deliverHeld(r, seq, r.table.get(r.base, seq))
	}
	m.touch(r)
}
