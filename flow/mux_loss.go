// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/seed-98f0d4c2/runnel/internal/recovery"

// settle is told the fate of a packet.
func (m *Mux) settle(pn uint64, items []item, fate recovery.Fate) {
	switch fate {
	case recovery.Acked:
		for i := range items {
			m.itemAcked(pn, &items[i])
		}
	case recovery.Lost:
		for i := range items {
			m.itemLost(pn, &items[i])
		}
	case recovery.Repeat: // its loss is feared
		for i := range items {
			if it := &items[i]; it.kind == itemData {
				m.dataLost(it.s, it.seq, it.a, it.b, int(it.tx), true)
			} else {
				m.itemLost(pn, it)
			}
		}
	case recovery.LostRepeated: // it has been said again, if it may be
		for i := range items {
			if it := &items[i]; it.kind == itemData {
				m.lastLost(it.s, it.seq, it.a, it.b, int(it.tx))
			}
		}
	}
}

// itemAcked records that the peer has been told something.
func (m *Mux) itemAcked(pn uint64, it *item) {
	switch it.kind {
	case itemData:
		m.dataAcked(it.s, it.seq, it.a, it.b)
	case itemSkip:
		m.skipAcked(it.s, it.seq, it.a)
	case itemOpen:
		it.s.openFact.acked()
		m.maybeFinish(it.s)
	case itemEnd:
		it.s.endFact.acked()
		m.maybeFinish(it.s)
	case itemAbort:
		it.s.abortFact.acked()
		m.forget(it.s)
	case itemReject:
		if !it.r.reject.known() {
			it.r.reject.acked()
			m.rejecting--
			if it.r.settled { // it counted as open until now
				m.collectReceiver(it.r)
				m.updateSessionLimits()
			}
		}
	case itemWindow:
		it.r.windowFact.ackedLatest(pn)
	case itemLimits:
		m.limits.ackedLatest(pn)
	case itemAck:
		m.acks.Known(it.seq)
	case itemNote:
		if f := m.config.Noted; f != nil {
			f(it.seq)
		}
	}
}

// itemLost arranges for something to be told again, if it is still worth telling.
func (m *Mux) itemLost(pn uint64, it *item) {
	switch it.kind {
	case itemData:
		m.dataLost(it.s, it.seq, it.a, it.b, int(it.tx), false)
	case itemSkip:
		m.skipLost(it.s, it.seq, it.a)
	case itemOpen:
		if it.s.openFact.lost(pn) {
			m.sched.add(it.s)
		}
	case itemEnd:
		if it.s.endFact.lost(pn) {
			m.sched.add(it.s)
		}
	case itemAbort:
		if it.s.abortFact.lost(pn) {
			m.sched.add(it.s)
		}
	case itemReject:
		if it.r.reject.lost(pn) {
			m.control(it.r)
		}
	case itemWindow:
		if it.r.windowFact.lost(pn) {
			m.control(it.r)
		}
	case itemLimits:
		m.limits.lost(pn)
	}
}
