// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// In the order Latest a complete message outdates all before it. The flow's floor is above it: what is unsettled below
// the floor is never handed over, in whatever order later. But the sender goes on using credit for it, so that its
// highest offset is kept account of until its end is known. Meanwhile it costs wire.MessageCost, as a place in the table
// must.

// raiseFloor outdates what is not settled below floor.
func (m *Mux) raiseFloor(r *Receiver, floor uint64) error {
	from := max(r.floor, r.base)
	r.floor = max(r.floor, floor)
	if r.table.n == 0 || from >= floor {
		return nil
	}
	var seqs []uint64
	if floor-from <= uint64(4*r.table.n+16) {
		for seq := from; seq < floor; seq++ {
			if r.table.get(r.base, seq) != nil {
				seqs = append(seqs, seq)
			}
		}
	} else {
		r.table.each(r.base, func(seq uint64, _ *recvMsg) {
			if seq >= from && seq < floor {
				seqs = append(seqs, seq)
			}
		})
		slices.Sort(seqs)
	}
	for _, seq := range seqs {
		p := r.table.get(r.base, seq)
		if err := m.outdate(r, seq, p, p.high()); err != nil {
			return err
		}
	}
	return nil
}

// outdate drops what is held of message p, which has used credit up to the offset high, and settles it if that is all.
func (m *Mux) outdate(r *Receiver, seq uint64, p *recvMsg, high int) error {
	m.giveBack(r, uint64(high-p.past))
	m.pieces -= p.extra()
	m.ahead -= p.ahead
	p.past, p.have, p.ahead = high, p.have[:0], 0
	if p.buf != nil {
		p.buf.free()
		p.buf = nil
	}
	if p.total < 0 {
		p.have = nil // or its memory would be held without being paid for
		return nil
	}
	r.table.remove(r.base, seq)
	m.freeMessage(p)
	m.giveBack(r, wire.MessageCost)
	r.count.Outdated++
	return m.settleNumber(r, seq)
}

// startLatest outdates what is older than the newest complete message, which may have been read already.
func (m *Mux) startLatest(r *Receiver) {
	m.handOutTo(r)
	r.gate.Lock()
	credit, floor := r.keepLatest(), r.read
	if r.queue.len() > 0 {
		floor = r.queue.front().Seq + 1
	}
	r.gate.Unlock(r.readable())
	m.giveBack(r, credit)
	newest := floor
	r.table.each(r.base, func(seq uint64, p *recvMsg) {
		if p.complete() {
			newest = max(newest, seq+1)
		}
	})
	// Too many ranges of numbers: the next chunk of the flow that adds one ends the session.
	if r.front = r.base; newest > floor {
		_ = m.deliverHeld(r, newest-1, r.table.get(r.base, newest-1))
		m.touch(r)
		return
	}
	_ = m.raiseFloor(r, floor)
}

// keepLatest drops all messages at hand but the newest, and that too if a newer one has been read, and returns their
// credit. The gate is locked.
func (r *Receiver) keepLatest() (credit uint64) {
	var newest Message
	found := false
	drop := func(msg *Message) {
		credit += msg.cost()
		r.dropped++
		r.droppedBytes += uint64(len(msg.Data))
		msg.Release()
	}
	for r.queue.len() > 0 {
		switch msg := r.queue.pop(); {
		case msg.Seq < r.read || found && msg.Seq < newest.Seq:
			drop(&msg)
		default:
			if found {
				drop(&newest)
			}
			newest, found = msg, true
		}
	}
	if found {
		*r.queue.push() = newest
	}
	return credit
}

// dropOutdated is keepLatest for a handle's caller: what is freed is told the loop as if it had been read.
func (r *Receiver) dropOutdated() {
	n := r.keepLatest()
	r.consumed += n
	r.m.readBytes.Add(n)
}
