// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
)

// A SendOption says how hard to try to deliver one message. Without any, a message is reliable: it is sent and repeated
// until it has arrived or the flow is over. Later options replace earlier ones of the same kind, except that After
// adds.
//
// What is abandoned leaves a gap in the numbers the receiver sees (Message.Seq), and never holds up what follows: the
// receiver is told within a round trip.
type SendOption struct {
	kind   optionKind
	value  int64
	parent *Receipt
}

type optionKind uint8

const (
	optionNone optionKind = iota
	optionStart
	optionFinish
	optionTransmits
	optionAfter
	optionSupersede
)

// StartWithin abandons the message if not one byte of it has been sent d after Send took it, reckoned from when the
// session's loop hears of it, which is at once unless it is busy. The time for which Send blocked does not count. Zero
// or less means no such limit, also if Options.StartWithin sets one.
func StartWithin(d time.Duration) SendOption { return SendOption{kind: optionStart, value: int64(d)} }

// FinishWithin abandons the message if the peer has not acknowledged all of it d after Send took it. Nothing of it is
// sent from then on. The peer may have the message all the same, if only the acknowledgement is late: allow a round
// trip more than the message is worth. Zero or less means no such limit, also if Options.FinishWithin sets one.
func FinishWithin(d time.Duration) SendOption { return SendOption{kind: optionFinish, value: int64(d)} }

// Transmits lets every part of the message be sent n times at most, and abandons it when a part is lost for the nth
// time. With 1 nothing is ever repeated. Zero or less means no limit, also if Options.Transmits sets one; more than
// 255 counts as 255.
func Transmits(n int) SendOption { return SendOption{kind: optionTransmits, value: int64(n)} }

// After makes the message depend on one sent before, on any flow of the session: if that is abandoned, for whatever
// reason, so is this one, whether or not it has been begun, and so are those that depend on it in turn. A message may
// depend on up to 4 others; Send fails if there are more, or if one is of another session. A nil parent means nothing.
//
// After has nothing to do with the order of delivery, and nothing is kept of a parent once it is delivered.
func After(parent *Receipt) SendOption { return SendOption{kind: optionAfter, parent: parent} }

// Supersede makes the message a newer state of what key stands for. An older message of the flow with the same key is
// abandoned: at once if nothing of it has been sent; otherwise when some of it would have to be sent again. So the rest
// of one that has been begun is still sent, once, and a path that is slower than the updates still delivers some.
//
// A message that is also sent After the one it takes the place of is given up along with it.
func Supersede(key uint64) SendOption { return SendOption{kind: optionSupersede, value: int64(key)} }

// maxTransmits is the most that is counted. What is sent more often, which only a message without a limit may be,
// counts as sent so often.
const maxTransmits = 255

// maxParents is how many messages one message may depend on.
const maxParents = 4

// never is a time that does not come.
const never = math.MaxInt64

// terms are how hard to try to deliver a message that is not simply reliable. The caller of Send makes them; from then
// on they are the loop's.
type terms struct {
	s   *Sender
	seq uint64

	startIn, finishIn time.Duration // as asked for; zero: none, or the flow's; less: none
	start, finish     int64         // deadlines on the mux's clock, or never
	started           bool
	index             int // in the mux's heap of deadlines, from 1; 0: not there

	transmits  int // at most; zero: the flow's, or no limit; less: no limit
	hasKey     bool
	superseded bool
	key        uint64
	sentAgain  []rangeset.Set // units sent twice and more, thrice and more, …; only if that matters

	parents  [maxParents]*Receipt // until collected
	nParents int

	stream *partStream // the message is a part
	more   bool        // and not the last
}

var termsPool = sync.Pool{New: func() any { return new(terms) }}

func (x *terms) free() {
	if x == nil {
		return
	}
	again := x.sentAgain
	for i := range again {
		again[i] = again[i][:0]
	}
	*x = terms{sentAgain: again[:0]}
	termsPool.Put(x)
}

// newTerms returns the terms opts ask for, or nil if there are none. It fails if no message of n bytes may be sent on
// such terms.
func (m *Mux) newTerms(n int, opts []SendOption) (*terms, error) {
	if limit := m.maxMessage(); n > limit {
		return nil, fmt.Errorf("%w: message of %d bytes, at most %d may be", ErrTooLarge, n, limit)
	}
	if len(opts) == 0 {
		return nil, nil //nolint:nilnil // no terms are the most common ones
	}
	x := termsPool.Get().(*terms)
	for i := range opts {
		o := &opts[i]
		switch o.kind {
		case optionStart:
			x.startIn = explicit(time.Duration(o.value))
		case optionFinish:
			x.finishIn = explicit(time.Duration(o.value))
		case optionTransmits:
			x.transmits = int(explicit(min(o.value, maxTransmits)))
		case optionSupersede:
			x.hasKey, x.key = true, uint64(o.value)
		case optionAfter:
			if o.parent == nil || o.parent.Outcome() == Delivered {
				continue
			}
			var err error
			switch {
			case o.parent.s == nil || o.parent.s.m != m:
				err = errForeignParent
			case x.nParents == maxParents:
				err = errManyParents
			}
			if err != nil {
				x.free()
				return nil, err
			}
			x.parents[x.nParents] = o.parent
			x.nParents++
		}
	}
	return x, nil
}

// explicit returns v so that "none" differs from "not asked for".
func explicit[T ~int64](v T) T {
	if v <= 0 {
		return -1
	}
	return v
}

// counts reports whether it matters how often what has been sent.
func (x *terms) counts() bool { return x.transmits > 0 || x.hasKey }

// last reports whether nothing may be repeated that was sent as transmission tx.
func (x *terms) last(tx int) bool { return x.superseded || x.transmits > 0 && tx >= x.transmits }

// timesSent returns how often unit a has been sent, and the end, at most b, of the units from there on of which the
// same is true. They have all been sent once.
func (x *terms) timesSent(a, b int) (times, end int) {
	times, end = 1, b
	for i := range x.sentAgain {
		in := false
		if again := x.sentAgain[i].Within(uint64(a), uint64(end)); len(again) > 0 {
			if in = again[0].Start <= uint64(a); in {
				end = min(end, int(again[0].End))
			} else {
				end = int(again[0].Start)
			}
		}
		if !in {
			break // what was not sent n times was not sent more often
		}
		times = i + 2
	}
	return times, end
}

// sendAgain records transmission tx, not the first, of units [a, b).
func (x *terms) sendAgain(a, b, tx int) {
	if i := tx - 2; i == len(x.sentAgain) {
		if i < cap(x.sentAgain) {
			x.sentAgain = x.sentAgain[:i+1]
		} else {
			x.sentAgain = append(x.sentAgain, nil)
		}
	}
	x.sentAgain[tx-2].Add(uint64(a), uint64(b))
}
