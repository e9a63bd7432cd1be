// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"time"
)

// A heldMsg is a complete message that waits behind a gap since a time on the mux's clock.
type heldMsg struct {
	seq uint64
	at  int64
}

// maxMaxWait is for ever, and can be added to any time.
const maxMaxWait time.Duration = 1 << 60

// hold notes that message seq is complete and has to wait for those before it.
func (m *Mux) hold(r *Receiver, seq uint64, p *recvMsg) {
	p.at = m.clock(m.now)
	if r.maxWait <= 0 {
		return
	}
	*r.held.push() = heldMsg{seq, p.at}
	if r.held.len() > 2*r.table.n+16 { // most have been handed over since
		for range r.held.len() {
			if h := *r.held.pop(); r.holds(h) {
				*r.held.push() = h
			}
		}
	}
	m.awaitGap(r)
}

// holds reports whether h still waits.
func (r *Receiver) holds(h heldMsg) bool {
	p := r.table.get(r.base, h.seq)
	return p != nil && p.at == h.at && p.complete()
}

// gatherHeld finds out what is held when that has not been kept account of.
func (r *Receiver) gatherHeld() {
	r.held = queue[heldMsg]{}
	if r.maxWait <= 0 || r.ordering != Ordered {
		return
	}
	var held []heldMsg
	r.table.each(r.base, func(seq uint64, p *recvMsg) {
		if p.complete() {
			held = append(held, heldMsg{seq, p.at})
		}
	})
	slices.SortFunc(held, func(a, b heldMsg) int { return int(min(max(a.at-b.at, -1), 1)) })
	for _, h := range held {
		*r.held.push() = h
	}
}

// setMaxWait changes how long a complete message waits behind a gap.
func (m *Mux) setMaxWait(r *Receiver, d time.Duration) {
	if r.maxWait == d {
		return
	}
	r.maxWait, r.waitAt = d, 0
	r.gatherHeld()
	m.awaitGap(r)
}

// awaitGap has the complete messages behind a gap handed over when they have waited for too long.
func (m *Mux) awaitGap(r *Receiver) {
	if r.maxWait <= 0 || r.waitAt != 0 || r.ordering != Ordered || r.settled {
		return
	}
	for r.held.len() > 0 && !r.holds(*r.held.at(0)) {
		r.held.pop()
	}
	if r.held.len() == 0 {
		r.held = queue[heldMsg]{}
		return
	}
	r.waitAt = r.held.at(0).at + int64(r.maxWait)
	if !r.inWaiting {
		r.inWaiting = true
		m.waiting = append(m.waiting, r)
	}
	m.wakeForGap(r)
}

// wakeForGap has passGaps called in time for r.
func (m *Mux) wakeForGap(r *Receiver) {
	if at := m.epoch.Add(time.Duration(r.waitAt)); m.waitAt.IsZero() || at.Before(m.waitAt) {
		m.waitAt = at
	}
}

// passGaps hands over what has waited for long enough. Within a sixteenth of their time flows and messages are as good
// as due, so that neither many flows nor many gaps are looked at for each of them.
func (m *Mux) passGaps(now time.Time) {
	if m.waitAt.IsZero() || m.waitAt.After(now) {
		return
	}
	m.waitAt = time.Time{}
	at, kept := m.clock(m.now), m.waiting[:0]
	for _, r := range m.waiting {
		switch {
		case r.ordering != Ordered || r.settled:
			r.waitAt = 0
		case r.waitAt != 0 && r.waitAt-int64(r.maxWait/16) <= at:
			m.passGap(r, at)
			r.waitAt = 0
			m.awaitGap(r)
		}
		if r.inWaiting = r.waitAt != 0; r.inWaiting {
			kept = append(kept, r)
			m.wakeForGap(r)
		}
	}
	clear(m.waiting[len(kept):])
	m.waiting = kept
}

// passGap hands over the complete messages of r up to the last that has waited for long enough at a time.
func (m *Mux) passGap(r *Receiver, at int64) {
	limit := at - int64(r.maxWait) + int64(r.maxWait/16)
	var end uint64
	for i := 0; i < r.held.len() && r.held.at(i).at <= limit; i++ {
		if h := *r.held.at(i); r.holds(h) {
			end = max(end, h.seq+1)
		}
	}
	if end == 0 {
		return
	}
	var seqs []uint64
	for range r.held.len() {
		switch h := *r.held.pop(); {
		case !r.holds(h):
		case h.seq < end:
			seqs = append(seqs, h.seq)
		default:
			*r.held.push() = h
		}
	}
	m.deliverAll(r, seqs)
	m.handOver(r)
	m.updateWindow(r)
}
