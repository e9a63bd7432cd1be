// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"sync"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A Message is one received message.
type Message struct {
	// Data is the caller's until Release.
	Data []byte

	// Seq is the message's number in its flow, from 0. In an ordered flow a gap is a message that the sender
	// abandoned, or one that SetMaxWait has let others pass. With [Latest], it is one that was outdated or abandoned.
	Seq uint64

	// More says that the message is a part of a longer one, which goes on in message Seq+1. See
	// [Receiver.NextReader].
	More bool

	// Late says that messages behind this one were handed over before, because of SetMaxWait.
	Late bool

	cut   bool    // the sender has abandoned it, but it was complete
	lease uint32  // of buf
	at    int64   // when it was complete, on the mux's clock
	buf   *buffer // of Data; nil: none to give back
}

// Release gives the memory of Data back to be used for other messages, of this session or another. Data must not be
// used afterwards, in this Message or a copy of it. Releasing again, or releasing a copy, has no effect. Calling it is
// optional: it saves the garbage collector work.
func (msg *Message) Release() {
	if msg.buf != nil && msg.buf.lease.CompareAndSwap(msg.lease, msg.lease+1) {
		msg.buf.free()
	}
	msg.Data, msg.buf = nil, nil
}

// cost is the credit that the message used.
func (msg *Message) cost() uint64 { return uint64(len(msg.Data)) + wire.MessageCost }

// A messageQueue is a first-in-first-out queue of messages. It takes memory in blocks, and gives it back, so that flows
// that are idle hold none. The zero value is an empty queue.
type messageQueue struct {
	head, tail *messageBlock
	lo, hi     int // first message in head, end of those in tail
	n          int
}

type messageBlock struct {
	m    [15]Message
	next *messageBlock
}

var messageBlocks = sync.Pool{New: func() any { return new(messageBlock) }}

func (q *messageQueue) len() int { return q.n }

// front returns the first message of a queue that is not empty.
func (q *messageQueue) front() *Message { return &q.head.m[q.lo] }

// push appends a slot for a message.
func (q *messageQueue) push() *Message {
	if q.tail == nil || q.hi == len(q.tail.m) {
		b := messageBlocks.Get().(*messageBlock)
		if q.tail == nil {
			q.head, q.lo = b, 0
		} else {
			q.tail.next = b
		}
		q.tail, q.hi = b, 0
	}
	q.hi++
	q.n++
	return &q.tail.m[q.hi-1]
}

// pop removes the first message of a queue that is not empty.
func (q *messageQueue) pop() Message {
	b := q.head
	msg := b.m[q.lo]
	b.m[q.lo] = Message{}
	q.lo++
	q.n--
	if q.n == 0 || q.lo == len(b.m) {
		q.head, q.lo = b.next, 0
		b.next = nil
		if q.head == nil {
			q.tail = nil
		}
		messageBlocks.Put(b)
	}
	return msg
}

// moveTo appends all messages to another queue.
func (q *messageQueue) moveTo(to *messageQueue) {
	if to.n == 0 {
		*q, *to = messageQueue{}, *q
		return
	}
	for q.n > 0 {
		*to.push() = q.pop()
	}
}

// takeSorted empties the queue into a slice in order of numbers.
func (q *messageQueue) takeSorted() []Message {
	s := make([]Message, 0, q.n)
	for q.n > 0 {
		s = append(s, q.pop())
	}
	slices.SortFunc(s, func(a, b Message) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	return s
}

// sort puts the messages in order of their numbers.
func (q *messageQueue) sort() {
	for _, msg := range q.takeSorted() {
		*q.push() = msg
	}
}
