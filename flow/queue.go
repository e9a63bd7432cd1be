// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

// A queue is a first-in-first-out queue in a ring, with access to its middle. The zero value is an empty queue.
type queue[T any] struct {
	ring []T // length zero or a power of two
	head int
	n    int
}

// leastRing is the length of the first ring of a queue.
const leastRing = 4

func (q *queue[T]) len() int { return q.n }

// at returns the element at position i from the front. The pointer is valid until the next push.
func (q *queue[T]) at(i int) *T { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

// push appends a slot and returns it. The slot holds whatever an earlier element left there, so that slices in it
// can be used again; popping must therefore clear what must not be retained.
func (q *queue[T]) push() *T {
	if q.n == len(q.ring) {
		ring := make([]T, max(leastRing, 2*q.n))
		for i := range q.n {
			ring[i] = *q.at(i)
		}
		q.ring, q.head = ring, 0
	}
	q.n++
	return q.at(q.n - 1)
}

// pop removes the first element and returns its slot, which stays valid until the next push.
func (q *queue[T]) pop() *T {
	e := q.at(0)
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return e
}
