// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"math/rand/v2"
	"time"
)

// A Queue is one direction of a link: a drop-tail buffer before a wire of a certain rate and delay that loses packets at
// random. It has no clock: time is an argument, as the duration since any epoch, and must not go backwards.
type Queue struct {
	rate  float64 // bits a second
	delay time.Duration
	limit int // bytes
	loss  float64
	rng   *rand.Rand

	waiting []packet // not begun to be sent
	bytes   int      // in waiting
	free    time.Duration
	flying  []packet // on the wire, in order of arrival

	// Passed is told of every packet that begins to be sent: when, its length, and how long it has waited.
	Passed func(at time.Duration, size int, wait time.Duration)

	Sent    uint64 // packets that began to be sent
	Dropped uint64 // at the tail of the buffer
	Lost    uint64 // on the wire
}

type packet struct {
	data []byte
	at   time.Duration // when it came to the buffer; on the wire, when it arrives
}

// NewQueue returns an empty queue before a wire of rate bits a second that takes delay and loses the fraction loss of all
// packets, chosen by seed. limit is what the buffer holds, in bytes, not counting the packet that is being sent.
func NewQueue(rate float64, delay time.Duration, limit int, loss float64, seed uint64) *Queue {
	return &Queue{rate: rate, delay: delay, limit: limit, loss: loss, rng: rand.New(rand.NewPCG(seed, 0))}
}

// SetRate changes the rate for packets that have not begun to be sent by now. The buffer keeps its size, as a router's
// does.
func (q *Queue) SetRate(now time.Duration, rate float64) {
	q.advance(now)
	q.rate = rate
}

// Push adds a packet, which it keeps, and reports whether there was room.
func (q *Queue) Push(now time.Duration, data []byte) bool {
	q.advance(now)
	if len(q.waiting) > 0 || q.free > now {
		if q.bytes+len(data) > q.limit {
			q.Dropped++
			return false
		}
	}
	q.waiting = append(q.waiting, packet{data, now})
	q.bytes += len(data)
	q.advance(now)
	return true
}

// Pop returns the next packet that has arrived by now, and when it has, or nil.
func (q *Queue) Pop(now time.Duration) (data []byte, at time.Duration) {
	q.advance(now)
	if len(q.flying) == 0 || q.flying[0].at > now {
		return nil, 0
	}
	p := q.flying[0]
	q.flying[0] = packet{}
	q.flying = q.flying[1:]
	return p.data, p.at
}

// Next returns when Pop, or the sending of the next packet, is due. If it is not ok there is nothing to wait for.
func (q *Queue) Next() (at time.Duration, ok bool) {
	switch {
	case len(q.flying) > 0 && len(q.waiting) > 0:
		return min(q.flying[0].at, q.free), true
	case len(q.flying) > 0:
		return q.flying[0].at, true
	case len(q.waiting) > 0:
		return q.free, true
	}
	return 0, false
}

// Waiting returns how many bytes wait in the buffer.
func (q *Queue) Waiting() int { return q.bytes }

// advance puts on the wire what has begun to be sent by now.
func (q *Queue) advance(now time.Duration) {
	for len(q.waiting) > 0 {
		p := q.waiting[0]
		start := max(q.free, p.at)
		if start > now {
			return
		}
		q.waiting[0] = packet{}
		q.waiting = q.waiting[1:]
		q.bytes -= len(p.data)
		q.free = start + time.Duration(float64(len(p.data))*8/q.rate*1e9)
		q.Sent++
		if q.Passed != nil {
			q.Passed(start, len(p.data), start-p.at)
		}
		if q.loss > 0 && q.rng.Float64() < q.loss {
			q.Lost++ // it has taken its time on the wire all the same
			continue
		}
		q.flying = append(q.flying, packet{p.data, q.free + q.delay})
	}
}
