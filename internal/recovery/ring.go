// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

// A slotState says what is known of a packet number.
type slotState uint8

const (
	slotEmpty    slotState = iota // never sent, or not worth remembering
	slotInFlight                  // its fate is awaited
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
	at    instant
	rate  sendSample
	items []T
	size  int32
	state slotState
	flags uint8
}

// A ring holds packets by consecutive numbers, from the oldest whose fate is awaited to the newest. Slots are used
// again with the memory of their items.
type ring[T any] struct {
	slots []packet[T] // length zero or a power of two
	head  int         // index of the first
	n     int
	base  uint64 // number of the first
}

// minRing is how many slots a ring has at least once it has any.
const minRing = 16

func (r *ring[T]) end() uint64 { return r.base + uint64(r.n) }

// at returns the packet with number pn, which must be in [base, end).
func (r *ring[T]) at(pn uint64) *packet[T] {
	return &r.slots[(r.head+int(pn-r.base))&(len(r.slots)-1)]
}

// push appends a slot for packet pn, which must be at least end. Numbers that were skipped get empty slots.
func (r *ring[T]) push(pn uint64) *packet[T] {
	if r.n == 0 {
		r.base = pn
	}
	for r.end() < pn {
		r.slot().state = slotEmpty
	}
	return r.slot()
}

func (r *ring[T]) slot() *packet[T] {
	if r.n == len(r.slots) {
		r.grow()
	}
	p := &r.slots[(r.head+r.n)&(len(r.slots)-1)]
	r.n++
	return p
}

func (r *ring[T]) grow() {
	slots := make([]packet[T], max(minRing, 2*r.n))
	k := copy(slots, r.slots[r.head:])
	copy(slots[k:], r.slots[:r.head])
	r.slots, r.head = slots, 0
}

// pop removes the first packet and returns its slot, which stays valid until the next push.
func (r *ring[T]) pop() *packet[T] {
	p := &r.slots[r.head]
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.n--
	r.base++
	return p
}

// shrink gives up memory that a burst has left behind.
func (r *ring[T]) shrink() {
	if r.n == 0 && len(r.slots) > 16*minRing {
		*r = ring[T]{}
	}
}
