// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// A sendState is the part of a mux that messages' fates hang on. The loop owns it.
type sendState struct {
	epoch     time.Time // of the mux's clock; set once, before any time on it is published
	deadlines deadlineHeap
	doomed    []*Receipt // what depended on messages that have been abandoned

	spareDependences  *dependence
	nSpareDependences int

	spareFragments []*fragments
	spareRings     [][]sendMsg

	unreserved bool      // credit of the session that had been reserved is free
	skipUsed   []uint64  // scratch
	changed    []*Sender // flows whose stats have changed
}

// uncollected reports whether handles have done something that the peer must be told of and the loop does not know.
func (m *Mux) uncollected() bool {
	m.mu.Lock()
	senders, receivers := m.readySenders, m.readyReceivers // others only append to them
	m.mu.Unlock()
	for _, s := range senders {
		if s.uncollected() {
			return true
		}
	}
	for _, r := range receivers {
		r.gate.Lock()
		rejected := r.rejected && !r.refusing && !r.settled
		r.gate.Unlock(r.readable())
		if rejected {
			return true
		}
	}
	return false
}

func (s *Sender) uncollected() bool {
	s.gate.Lock()
	defer func() { s.gate.Unlock(s.writable()) }()
	switch {
	case s.failed || s.ending && !s.unsettled():
		return false
	case s.aborted:
		return s.hasID
	}
	return len(s.pending) > 0 || s.announced && !s.announce || s.closing && !s.ending
}
