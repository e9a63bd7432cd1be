// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// maxLost bounds how many lost packets are remembered, and maxLostItems how many items they have.
const (
	maxLost      = 4096
	maxLostItems = 1 << 14
)

// A lostPacket is remembered for a while, because it may have arrived after all.
type lostPacket[T any] struct {
	pn      uint64
	at      instant // when it was sent
	lostAt  instant
	items   []T
	episode uint32 // the episode it belongs to; zero: it did not count as congestion
	size    int32
	byTime  bool // the time threshold found it lost, not the packet threshold
	gone    bool // it has been acknowledged since
}

// A lostQueue holds lost packets in ascending order of their numbers.
type lostQueue[T any] struct {
	slots []lostPacket[T] // length zero or a power of two
	head  int
	n     int
	room  int // for items, in the lists of all of them
}

func (q *lostQueue[T]) at(i int) *lostPacket[T] { return &q.slots[(q.head+i)&(len(q.slots)-1)] }

// push appends a lost packet, and forgets the oldest if they are too many. Lists of items that are no longer needed go to
// spare.
func (q *lostQueue[T]) push(l lostPacket[T], spare *spares[T]) {
	q.room += cap(l.items)
	for q.n > 0 && (q.n == maxLost || q.room > maxLostItems) {
		q.pop(spare)
	}
	if q.n == len(q.slots) {
		slots := make([]lostPacket[T], max(minRing, 2*q.n))
		k := copy(slots, q.slots[q.head:])
		copy(slots[k:], q.slots[:q.head])
		q.slots, q.head = slots, 0
	}
	q.n++
	*q.at(q.n - 1) = l
}

func (q *lostQueue[T]) pop(spare *spares[T]) {
	q.release(q.at(0), spare)
	q.head = (q.head + 1) & (len(q.slots) - 1)
	q.n--
}

// release takes the items of a packet, whose fate is known.
func (q *lostQueue[T]) release(l *lostPacket[T], spare *spares[T]) {
	q.room -= cap(l.items)
	spare.put(l.items)
	l.items = nil
}

// expire forgets packets lost before then, and those that have arrived.
func (q *lostQueue[T]) expire(then instant, spare *spares[T]) {
	for q.n > 0 && (q.at(0).gone || q.at(0).lostAt < then) {
		q.pop(spare)
	}
	if q.n == 0 && len(q.slots) > 16*minRing {
		*q = lostQueue[T]{}
	}
}

// lostFor returns how long a lost packet is remembered.
func (t *Tracker[T]) lostFor() time.Duration {
	return max(3*t.path.rtt.pto(), minLostFor)
}

const minLostFor = time.Second

// handleLate finds packets among those acknowledged that had been declared lost.
func (t *Tracker[T]) handleLate(a *wire.Ack) {
	q := &t.lost
	undo := instant(0)
	j := q.n - 1
	for _, r := range a.Ranges {
		for ; j >= 0 && q.at(j).pn >= r.End; j-- {
		}
		for ; j >= 0 && q.at(j).pn >= r.Start; j-- {
			if l := q.at(j); !l.gone {
				undo = max(undo, t.late(l, a.Largest()))
			}
		}
		if j < 0 {
			break
		}
	}
	if undo != 0 {
		t.path.cc.HandleSpurious(t.time(t.now), t.time(undo))
		t.path.observe()
	}
	q.expire(t.now-t.lostFor(), &t.spare)
}

// late settles a packet that was lost and has arrived all the same. It returns when the newest packet of its episode
// was sent, if none of that is lost any more.
func (t *Tracker[T]) late(l *lostPacket[T], largest uint64) (undo instant) {
	l.gone = true
	p := &t.path
	t.stats.Spurious++
	t.traceSpurious(l)
	if l.pn >= p.start {
		p.rate.delivered += uint64(l.size)
		p.rate.deliveredAt = t.now
		p.reorder.spurious(!l.byTime, largest-l.pn, t.now-l.at, p.rtt.reference())
	}
	if l.episode != 0 && l.episode == p.episode.id {
		undo = p.episode.arrived()
	}
	if t.fate != nil && len(l.items) > 0 {
		t.fate(l.pn, l.items, Acked)
	}
	t.lost.release(l, &t.spare)
	return undo
}
