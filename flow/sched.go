// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

// A scheduler holds the flows that have something to send: strict between priorities, a packet each in turn within one.
type scheduler struct {
	levels [levels]flowRing
	n      int // flows in all levels
}

// A flowRing is a queue of flows linked through their schedNext fields.
type flowRing struct{ tail *Sender } // tail.schedNext is the head

// add appends s at its priority's end unless it is queued already.
func (sc *scheduler) add(s *Sender) {
	if s.queued {
		return
	}
	s.queued = true
	sc.n++
	r := &sc.levels[s.level]
	if r.tail == nil {
		s.schedNext = s
	} else {
		s.schedNext, r.tail.schedNext = r.tail.schedNext, s
	}
	r.tail = s
}

// head returns the flow whose turn it is at a level, or nil.
func (sc *scheduler) head(level int) *Sender {
	if t := sc.levels[level].tail; t != nil {
		return t.schedNext
	}
	return nil
}

// rotate moves the head of a level to its end.
func (sc *scheduler) rotate(level int) {
	r := &sc.levels[level]
	r.tail = r.tail.schedNext
}

// removeHead removes the head of a level.
func (sc *scheduler) removeHead(level int) {
	r := &sc.levels[level]
	s := r.tail.schedNext
	if s == r.tail {
		r.tail = nil
	} else {
		r.tail.schedNext = s.schedNext
	}
	s.schedNext, s.queued = nil, false
	sc.n--
}
