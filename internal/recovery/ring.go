// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

// A slotState says what is known of a packet number.
type slotState uint8

const (
	slotInFlight slotState = iota // its fate is awaited
	slotAcked
	slotLost // remembered in the lost queue now
)

// Properties of a packet.
const (
	flagEliciting  = 1 << iota // it asks for an acknowledgement and counts as in flight
	flagMTUProbe               // it tries a size; its loss means nothing else
	flagMarked                 // it was sent as ECT(0)
	flagRepeated               // a probe was asked to repeat what it says
	flagAppLimited             // there was nothing else to send when it left
)

// A packet records what was sent.
type packet[T any] struct {
	pn    uint64
	at    instant
	rate  sendSample
	items []T
	size  int32
	state slotState
	flags uint8
}

// A ring holds packets in ascending order of their numbers, from the oldest whose fate is awaited to the newest. Numbers
// may be missing.
type ring[T any] struct {
	slots []packet[T] // length zero or a power of two
	head  int         // index of the first
	n     int
}

// minRing is how many slots a ring has at least once it has any.
const minRing = 16

// at returns the packet at position i from the oldest.
func (r *ring[T]) at(i int) *packet[T] { return &r.slots[(r.head+i)&(len(r.slots)-1)] }

// find returns the position of the first packet whose number is at least pn, or n.
func (r *ring[T]) find(pn uint64) int {
	if r.n == 0 || pn <= r.at(0).pn {
		return 0
	}
	// Positions are at most as far apart as numbers are, and most often just as far.
	lo, hi := 0, r.n
	if d := pn - r.at(0).pn; d < uint64(r.n) {
		if hi = int(d); r.at(hi).pn == pn {
			return hi
		}
	}
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); r.at(mid).pn < pn {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// push appends a slot for packet pn, whose number must be the largest.
func (r *ring[T]) push(pn uint64) *packet[T] {
	if r.n == len(r.slots) {
		r.resize(max(minRing, 2*r.n))
	}
	r.n++
	p := r.at(r.n - 1)
	p.pn = pn
	return p
}

// resize moves the packets to another ring, for which there is room.
func (r *ring[T]) resize(size int) {
	slots := make([]packet[T], size)
	for i := range r.n {
		slots[i] = *r.at(i)
	}
	r.slots, r.head = slots, 0
}

// pop removes the first packet.
func (r *ring[T]) pop() {
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.n--
}

// shrink gives up memory that a burst has left behind.
func (r *ring[T]) shrink() {
	size := len(r.slots)
	for size > 16*minRing && r.n <= size/8 {
		size /= 2
	}
	if size < len(r.slots) {
		r.resize(size)
	}
}

// spares are lists of items to be used again.
type spares[T any] struct {
	lists [][]T
	room  int // sum of their capacities
}

// maxSpare bounds how many items there is room for in lists that wait to be used again.
const maxSpare = 1 << 14

// put takes a list that is no longer needed.
func (s *spares[T]) put(items []T) {
	clear(items)
	if n := cap(items); n > 0 && s.room+n <= maxSpare {
		s.lists = append(s.lists, items[:0])
		s.room += n
	}
}

// take returns an empty list.
func (s *spares[T]) take() (items []T) {
	if n := len(s.lists); n > 0 {
		items, s.lists[n-1] = s.lists[n-1], nil
		s.lists = s.lists[:n-1]
		s.room -= cap(items)
	}
	return items
}
