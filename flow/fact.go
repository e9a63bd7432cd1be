// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

// A fact is something the peer must be told, reliably, once: that a flow exists, has ended, has a new window. It
// remembers the last packet that told it, so that the loss of an earlier one does not tell it again.
type fact struct {
	state factState
	pn    uint64 // last packet sent with it
}

type factState uint8

const (
	factNone    factState = iota // nothing to tell
	factPending                  // to be sent
	factSent                     // in flight
	factKnown                    // acknowledged
)

// set makes the fact one to be told, again if it changed.
func (f *fact) set() { f.state = factPending }

// clear forgets the fact.
func (f *fact) clear() { f.state = factNone }

func (f *fact) isSet() bool   { return f.state != factNone }
func (f *fact) pending() bool { return f.state == factPending }
func (f *fact) known() bool   { return f.state == factKnown }

// unsettled reports whether the peer has to be told and is not known to have been.
func (f *fact) unsettled() bool { return f.state == factPending || f.state == factSent }

// sent records that packet pn tells it.
func (f *fact) sent(pn uint64) {
	f.pn = pn
	if f.state != factKnown {
		f.state = factSent
	}
}

// acked records that packet pn, which told it, was acknowledged. For a fact that never changes any packet will do.
func (f *fact) acked() {
	if f.isSet() {
		f.state = factKnown
	}
}

// ackedLatest is acked for a fact that changes: only the packet with the newest value counts.
func (f *fact) ackedLatest(pn uint64) {
	if f.state == factSent && f.pn == pn {
		f.state = factKnown
	}
}

// lost records the loss of packet pn and reports whether the fact must be sent again.
func (f *fact) lost(pn uint64) bool {
	if f.state == factSent && f.pn == pn {
		f.state = factPending
		return true
	}
	return f.state == factPending
}
