// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import "github.com/seed-98f0d4c2/runnel/internal/wire"

// An ECNState says what is known of a path's treatment of ECN marks. RFC 9000 §13.4.2.
type ECNState uint8

// States of a path.
const (
	ECNTesting ECNState = iota // a few packets are sent with a mark
	ECNUnknown                 // those have been sent, nothing has come back yet; no marks
	ECNCapable                 // marks arrive and are reported
	ECNFailed                  // they do not; no marks
)

// String names the state.
func (s ECNState) String() string {
	return [...]string{"testing", "unknown", "capable", "failed"}[s]
}

// ecnTests is how many packets test a path. RFC 9000 §A.4.
const ecnTests = 10

// An ecn validates that a path carries marks and that the peer reports them.
type ecn struct {
	state  ECNState
	tested int            // packets marked on this path, up to ecnTests
	gone   int            // of them, lost
	sent   uint64         // packets, ever; a batch may leave with one mark, so those without are counted too
	counts wire.ECNCounts // as last reported
}

// mark returns the mark for the next packet.
func (e *ecn) mark() wire.ECN {
	if e.state == ECNTesting || e.state == ECNCapable {
		return wire.ECT0
	}
	return wire.NotECT
}

// packetSent records that a packet leaves and reports whether it is marked.
func (e *ecn) packetSent() (marked bool) {
	e.sent++
	switch e.state {
	case ECNCapable:
		return true
	case ECNTesting:
		if e.tested++; e.tested == ecnTests {
			e.state = ECNUnknown
		}
		return true
	}
	return false
}

// packetLost records the loss of a marked packet. "If all packets that were sent with the ECT(0) codepoint are lost,
// validation is deemed to have failed." RFC 9000 §13.4.2.
func (e *ecn) packetLost() {
	if e.state <= ECNUnknown {
		if e.gone++; e.gone >= ecnTests {
			e.state = ECNFailed
		}
	}
}

// timeout stops marking, should that be what makes packets vanish, until a mark is known to have arrived.
func (e *ecn) timeout() {
	if e.state == ECNTesting {
		e.state = ECNUnknown
	}
}

// ack validates an acknowledgement that raises the largest packet number, and acknowledges marked packets sent on this
// path. It returns how many more packets have met with congestion. RFC 9000 §13.4.2.1.
func (e *ecn) ack(a *wire.Ack, marked int) (ce int) {
	if !a.HasECN {
		// "If an ACK frame newly acknowledges a packet that the endpoint sent with either the ECT(0) or ECT(1)
		// codepoint set, ECN validation fails if the corresponding ECN counts are not present".
		if marked > 0 {
			e.state = ECNFailed
		}
		return 0
	}
	was, is := e.counts, a.ECN
	e.counts = is
	if e.state == ECNFailed {
		return 0
	}
	switch {
	case is.ECT0 < was.ECT0 || is.CE < was.CE || is.ECT1 > was.ECT1,
		// "ECN validation also fails if the sum of the increase in ECT(0) and ECN-CE counts is less than the number of
		// newly acknowledged packets that were originally sent with an ECT(0) marking."
		is.ECT0-was.ECT0+is.CE-was.CE < uint64(marked),
		// "[...] if the result exceeds the total number of packets sent".
		is.ECT0 > e.sent, is.CE > e.sent:
		e.state = ECNFailed
		return 0
	}
	if marked > 0 {
		e.state = ECNCapable
	}
	if e.state != ECNCapable {
		return 0
	}
	return int(is.CE - was.CE)
}

// reset begins anew on another path.
func (e *ecn) reset() { e.state, e.tested, e.gone = ECNTesting, 0, 0 }
