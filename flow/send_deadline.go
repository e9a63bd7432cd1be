// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// A deadlineHeap holds the next deadline of every message that has one, the earliest at the front. Times are on the
// mux's clock.
type deadlineHeap []deadlineEntry

type deadlineEntry struct {
	at int64
	x  *terms
}

// clock returns t on the mux's clock: nanoseconds since just before the first time it was told of, so that no time from
// then on is zero.
func (m *Mux) clock(t time.Time) int64 {
	if m.epoch.IsZero() {
		m.epoch = t.Add(-1)
	}
	return int64(t.Sub(m.epoch))
}

// nextDeadline returns when a message must be abandoned next; zero: none.
func (m *Mux) nextDeadline() time.Time {
	if len(m.deadlines) == 0 {
		return time.Time{}
	}
	return m.epoch.Add(time.Duration(m.deadlines[0].at))
}

// due returns the next deadline of a message and which it is.
func (x *terms) due() (int64, Reason) {
	if !x.started && x.start <= x.finish {
		return x.start, StartDeadline
	}
	return x.finish, FinishDeadline
}

// schedule brings the heap up to date with x.
func (h *deadlineHeap) schedule(x *terms) {
	at, _ := x.due()
	switch {
	case at == never:
		h.remove(x)
	case x.index == 0:
		*h = append(*h, deadlineEntry{at, x})
		h.up(len(*h) - 1)
	default:
		i := x.index - 1
		(*h)[i].at = at
		h.up(i)
		h.down(x.index - 1)
	}
}

// remove takes x out.
func (h *deadlineHeap) remove(x *terms) {
	if x.index == 0 {
		return
	}
	i, n := x.index-1, len(*h)-1
	x.index = 0
	last := (*h)[n]
	(*h)[n] = deadlineEntry{}
	*h = (*h)[:n]
	if i < n {
		h.set(i, last)
		h.up(i)
		h.down(last.x.index - 1)
	}
	if n == 0 && cap(*h) > 1024 {
		*h = nil
	}
}

func (h deadlineHeap) set(i int, e deadlineEntry) {
	h[i] = e
	e.x.index = i + 1
}

func (h deadlineHeap) up(i int) {
	e := h[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].at <= e.at {
			break
		}
		h.set(i, h[parent])
		i = parent
	}
	h.set(i, e)
}

func (h deadlineHeap) down(i int) {
	e := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].at < h[child].at {
			child++
		}
		if h[child].at >= e.at {
			break
		}
		h.set(i, h[child])
		i = child
	}
	h.set(i, e)
}

// expireMessages abandons the messages whose deadline has come.
func (m *Mux) expireMessages(now time.Time) {
	if len(m.deadlines) > 0 {
		for t := m.clock(now); len(m.deadlines) > 0 && m.deadlines[0].at <= t; {
			x := m.deadlines[0].x
			_, reason := x.due()
			m.abandon(x.s, x.seq, reason)
		}
	}
	m.returnBuffers()
}

// setDeadline returns when a limit is reached that was asked for at time now, or never.
func setDeadline(now int64, asked, otherwise time.Duration) int64 {
	if asked == 0 {
		asked = otherwise
	}
	if asked <= 0 || int64(asked) > never-now {
		return never
	}
	return now + int64(asked)
}
