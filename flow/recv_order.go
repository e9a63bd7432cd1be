// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"time"
)

// mayPass reports whether message seq is handed over as soon as it is complete.
func (r *Receiver) mayPass(seq uint64) bool { return seq <= r.front || r.ordering == Arrival }

// setOrdering changes the order from now on.
func (m *Mux) setOrdering(r *Receiver, o Ordering) {
	if r.ordering == o {
		return
	}
	r.ordering = o
	if o == Arrival {
		m.deliverUpTo(r, r.top)
		return
	}
	// What has not been read goes back behind the gaps.
	r.front = r.base
	m.handOutTo(r)
	r.gate.Lock()
	for _, msg := range r.queue.takeSorted() {
		if msg.Seq < r.base || r.settled {
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

// setMaxWait changes how long a complete message waits behind a gap.
func (m *Mux) setMaxWait(r *Receiver, d time.Duration) {
	if r.maxWait == d {
		return
	}
	r.maxWait, r.waitAt = d, 0
	m.awaitGap(r)
}

// awaitGap has the complete messages behind a gap handed over when they have waited for too long.
func (m *Mux) awaitGap(r *Receiver) {
	if r.maxWait <= 0 || r.waitAt != 0 || r.ordering == Arrival || r.settled {
		return
	}
	oldest := oldestHeld(r)
	if oldest == 0 {
		return
	}
	r.waitAt = oldest + int64(r.maxWait)
	if !r.inWaiting {
		r.inWaiting = true
		m.waiting = append(m.waiting, r)
	}
	if at := m.start.Add(time.Duration(r.waitAt)); m.waitAt.IsZero() || at.Before(m.waitAt) {
		m.waitAt = at
	}
}

// oldestHeld returns when the first of the messages was complete that wait behind a gap, or zero.
func oldestHeld(r *Receiver) (at int64) {
	r.table.each(r.base, func(_ uint64, p *recvMsg) {
		if p.complete() && (at == 0 || p.at < at) {
			at = p.at
		}
	})
	return at
}

// passGaps hands over what has waited for long enough.
func (m *Mux) passGaps(now time.Time) {
	if m.waitAt.IsZero() || m.waitAt.After(now) {
		return
	}
	m.waitAt = time.Time{}
	waiting := m.waiting
	m.waiting = m.waiting[:0]
	for _, r := range waiting {
		r.inWaiting = false
		if r.waitAt != 0 && r.waitAt <= m.offset() && r.ordering == Ordered && !r.settled {
			m.passGap(r)
		}
		if r.waitAt != 0 {
			r.waitAt = 0
			m.awaitGap(r)
		}
	}
	clear(waiting[len(m.waiting):])
}

// passGap hands over the complete messages of r up to the last that has waited for long enough. Those within a
// sixteenth of that count as well, so that a flow with many gaps is not searched for each of them.
func (m *Mux) passGap(r *Receiver) {
	limit := m.offset() - int64(r.maxWait) + int64(r.maxWait/16)
	var end uint64
	r.table.each(r.base, func(seq uint64, p *recvMsg) {
		if p.complete() && p.at <= limit {
			end = max(end, seq+1)
		}
	})
	m.deliverUpTo(r, end)
	m.handOver(r)
	m.updateWindow(r)
}
