// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

// A scheduler holds the flows that have something to send: strict between levels, but for a guard against starvation,
// and by weight within one.
type scheduler struct {
	levels [levels]schedLevel
	n      int // flows in all levels
	calm   int // packets since the guard last let a level ahead
}

const (
	// starvedAfter is how many packets pass a level by that has something to send before it is let ahead.
	starvedAfter = 31

	// guardEvery keeps packets of levels let ahead apart, so that what is urgent waits for one of them at most. Seven
	// starving levels still get their share: 32/4 > 7.
	guardEvery = 4
)

// A schedLevel is a heap of flows by pass. The pass of a flow grows with what it sends, the slower the greater its
// weight, and the least is served first (stride scheduling). A flow that had nothing to send saves up nothing.
type schedLevel struct {
	heap   []schedEntry
	clock  uint64 // pass of the flow served last
	order  uint64
	passed int // packets since the level was last served in which it might have been
}

type schedEntry struct {
	pass, order uint64
	s           *Sender
}

func (e *schedEntry) before(f *schedEntry) bool {
	return e.pass < f.pass || e.pass == f.pass && e.order < f.order
}

// passPerByte is what a byte adds to the pass of a flow of weight 1.
const passPerByte = 255 << 8

// add queues s unless it is queued already.
func (sc *scheduler) add(s *Sender) {
	if s.schedAt != 0 {
		return
	}
	l := &sc.levels[s.level]
	s.pass = max(s.pass, l.clock)
	l.order++
	l.heap = append(l.heap, schedEntry{s.pass, l.order, s})
	l.up(len(l.heap) - 1)
	sc.n++
}

// head returns the flow whose turn it is at a level, or nil.
func (sc *scheduler) head(level int) *Sender {
	if l := &sc.levels[level]; len(l.heap) > 0 {
		return l.heap[0].s
	}
	return nil
}

// charge makes s, the head of its level, pay for n bytes.
func (sc *scheduler) charge(s *Sender, n int) {
	l := &sc.levels[s.level]
	l.clock = max(l.clock, s.pass)
	s.pass += uint64(n) * (passPerByte / uint64(s.weight))
	l.order++
	l.heap[0].pass, l.heap[0].order = s.pass, l.order
	l.down(0)
}

// remove takes s out.
func (sc *scheduler) remove(s *Sender) {
	if s.schedAt == 0 {
		return
	}
	l := &sc.levels[s.level]
	i, n := int(s.schedAt)-1, len(l.heap)-1
	last := l.heap[n]
	l.heap[n] = schedEntry{}
	l.heap = l.heap[:n]
	if i < n {
		l.set(i, last)
		l.up(i)
		l.down(int(last.s.schedAt) - 1)
	}
	s.schedAt = 0
	sc.n--
}

// move brings s to another level.
func (sc *scheduler) move(s *Sender, level int8) {
	queued := s.schedAt != 0
	sc.remove(s)
	s.level, s.pass = level, 0
	s.hintPriority()
	if queued {
		sc.add(s)
	}
}

func (l *schedLevel) set(i int, e schedEntry) {
	l.heap[i] = e
	e.s.schedAt = int32(i) + 1
}

func (l *schedLevel) up(i int) {
	e := l.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&l.heap[parent]) {
			break
		}
		l.set(i, l.heap[parent])
		i = parent
	}
	l.set(i, e)
}

func (l *schedLevel) down(i int) {
	e := l.heap[i]
	for {
		child := 2*i + 1
		if child >= len(l.heap) {
			break
		}
		if child+1 < len(l.heap) && l.heap[child+1].before(&l.heap[child]) {
			child++
		}
		if !l.heap[child].before(&e) {
			break
		}
		l.set(i, l.heap[child])
		i = child
	}
	l.set(i, e)
}

// starving returns the level that is to be let ahead in the next packet, or -1.
func (sc *scheduler) starving() int {
	if sc.calm++; sc.calm < guardEvery {
		return -1
	}
	found, passed := -1, starvedAfter-1
	for i := range sc.levels {
		if l := &sc.levels[i]; l.passed > passed && len(l.heap) > 0 {
			found, passed = i, l.passed
		}
	}
	if found >= 0 {
		sc.calm = 0
	}
	return found
}

// account notes which levels, as bits of served, got something into a packet.
func (sc *scheduler) account(served uint) {
	for i := range sc.levels {
		if l := &sc.levels[i]; len(l.heap) == 0 || served&(1<<i) != 0 {
			l.passed = 0
		} else {
			l.passed++
		}
	}
}

// appendFlows fills the packet with what flows have to send.
func (m *Mux) appendFlows(b []byte, limit int) []byte {
	if m.sched.n == 0 {
		return b
	}
	start, served := len(b), uint(0)
	full := false
	if level := m.sched.starving(); level >= 0 {
		b, full = m.appendLevel(level, b, limit, true, &served)
	}
	for again := true; again; again = !full && m.unblockSession() { // those let on may have left credit to others
		for level := 0; level < levels && !full; level++ {
			b, full = m.appendLevel(level, b, limit, false, &served)
		}
	}
	if len(b) > start {
		m.sched.account(served)
	}
	return b
}

// appendLevel adds what flows of a level have to send, or only the first that has something. full says that the packet
// has no room for more.
func (m *Mux) appendLevel(level int, b []byte, limit int, one bool, served *uint) (_ []byte, full bool) {
	for s := m.sched.head(level); s != nil; s = m.sched.head(level) {
		before := len(b)
		b, full = m.appendFlow(s, b, limit)
		if n := len(b) - before; n > 0 {
			*served |= 1 << level
			m.change(s)
			m.sched.charge(s, n)
		}
		if !full {
			m.sched.remove(s)
		}
		if full || one && len(b) > before {
			return b, full
		}
	}
	return b, false
}
