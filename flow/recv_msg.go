// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A recvMsg is a message that is not complete, or complete and behind one that is not.
type recvMsg struct {
	buf   *buffer      // bytes up to the highest received; those not received are undefined
	have  rangeset.Set // bytes received
	total int          // length of the message, or -1 while it is not known
	ahead int          // capacity of buf that was taken in the hope of a long message
	past  int          // of an outdated one, which has no buf: the highest offset received; its credit is given back
	at    int64        // when it was complete, on the mux's clock
	more  bool         // it is a part
	cut   bool         // abandoned by the sender when it was complete already
}

func (p *recvMsg) complete() bool { return p.total >= 0 && p.have.Covers(0, uint64(p.total)) }

// high is the highest offset received.
func (p *recvMsg) high() int {
	if p.buf == nil {
		return p.past
	}
	return len(p.buf.b)
}

// extra is how many pieces p has beyond the first, which wire.MessageCost pays for.
func (p *recvMsg) extra() int { return max(len(p.have)-1, 0) }

// used is the credit p has used so far.
func (p *recvMsg) used() uint64 { return uint64(p.high()) + wire.MessageCost }

// cost is what of that has not been given back.
func (p *recvMsg) cost() uint64 { return uint64(p.high()-p.past) + wire.MessageCost }

// add notes that bytes from off up to end have been received, and returns how many of them had been before.
func (p *recvMsg) add(off, end int) (again int) {
	from, to := uint64(off), uint64(end)
	if len(p.have) == 1 && p.have[0].Start == 0 && p.have[0].End == from { // in order
		p.have[0].End = to
		return 0
	}
	again = int(p.have.Count(from, to))
	p.have.Add(from, to)
	return again
}

// A recvTable holds a flow's messages that are here in part, or whole and not handed over. Those whose numbers are near
// the flow's base are in a ring, others in a map: the peer chooses the numbers, and must not make the ring large with
// few messages.
type recvTable struct {
	ring   []*recvMsg // length zero or a power of two; holds numbers from base up to base+len(ring)
	sparse map[uint64]*recvMsg
	n      int // messages in both
}

const minRing = 8

// get returns the message with a number not below base, or nil.
func (t *recvTable) get(base, seq uint64) *recvMsg {
	if seq-base < uint64(len(t.ring)) {
		if p := t.ring[seq&uint64(len(t.ring)-1)]; p != nil {
			return p
		}
	}
	if len(t.sparse) > 0 {
		return t.sparse[seq]
	}
	return nil
}

// put adds a message that is not there.
func (t *recvTable) put(base, seq uint64, p *recvMsg) {
	t.n++
	d := seq - base
	if d >= uint64(len(t.ring)) {
		if d >= minRing*uint64(t.n+minRing-1) {
			if t.sparse == nil {
				t.sparse = make(map[uint64]*recvMsg)
			}
			t.sparse[seq] = p
			return
		}
		t.grow(base, d+1)
	}
	t.ring[seq&uint64(len(t.ring)-1)] = p
}

// grow makes the ring hold n numbers from base on.
func (t *recvTable) grow(base, n uint64) {
	size := max(uint64(len(t.ring)), minRing)
	for size < n {
		size *= 2
	}
	ring := make([]*recvMsg, size)
	for seq := base; seq < base+uint64(len(t.ring)); seq++ {
		ring[seq&(size-1)] = t.ring[seq&uint64(len(t.ring)-1)]
	}
	t.ring = ring
}

// remove removes a message that is there.
func (t *recvTable) remove(base, seq uint64) {
	i := seq & uint64(len(t.ring)-1)
	if seq-base < uint64(len(t.ring)) && t.ring[i] != nil {
		t.ring[i] = nil
	} else {
		delete(t.sparse, seq)
	}
	if t.n--; t.n == 0 && (len(t.ring) > minRing*minRing || t.sparse != nil) {
		t.ring, t.sparse = nil, nil
	}
}

// each calls f for every message, in no particular order. f must not change the table.
func (t *recvTable) each(base uint64, f func(seq uint64, p *recvMsg)) {
	for seq := base; seq < base+uint64(len(t.ring)); seq++ {
		if p := t.ring[seq&uint64(len(t.ring)-1)]; p != nil {
			f(seq, p)
		}
	}
	for seq, p := range t.sparse {
		f(seq, p)
	}
}

// maxAhead bounds the memory of a session that incomplete messages take in the hope that they become as long as the
// message before.
const maxAhead = 4 << 20

// reserve makes room in p for bytes up to end. Without hope, a buffer has less than twice the size that the peer has
// paid for.
func (m *Mux) reserve(r *Receiver, p *recvMsg, end int) {
	need := end
	if p.total >= 0 {
		need = p.total // paid for as well: the end is the highest offset
	}
	m.ahead -= p.ahead
	p.ahead = 0
	size := need
	if hope := 1 << bufferClass(r.lastSize); hope > 1<<bufferClass(need) && p.total < 0 && m.ahead+hope <= maxAhead {
		p.ahead, size = hope, hope
		m.ahead += hope
	}
	buf := newBuffer(size)
	if p.buf != nil {
		buf.b = append(buf.b, p.buf.b...)
		p.buf.free()
	}
	p.buf = buf
}

// store adds a fragment that ends within the limits, and returns how many bytes of it had been there.
func (m *Mux) store(r *Receiver, p *recvMsg, off int, data []byte) (again int) {
	end := off + len(data)
	if p.buf == nil || end > cap(p.buf.b) {
		m.reserve(r, p, end)
	}
	if end > len(p.buf.b) {
		p.buf.b = p.buf.b[:end]
	}
	copy(p.buf.b[off:end], data)
	return p.add(off, end)
}

// newMessage returns an empty message.
func (m *Mux) newMessage() *recvMsg {
	if n := len(m.spare); n > 0 {
		p := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return p
	}
	return &recvMsg{total: -1}
}

// freeMessage takes back a message. If it still has a buffer, that is dropped.
func (m *Mux) freeMessage(p *recvMsg) {
	m.pieces -= p.extra()
	m.ahead -= p.ahead
	if p.buf != nil {
		p.buf.free()
	}
	if cap(p.have) > 64 {
		p.have = nil
	}
	*p = recvMsg{have: p.have[:0], total: -1}
	if len(m.spare) < 64 {
		m.spare = append(m.spare, p)
	}
}
