// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package recovery remembers what was sent on a path, finds out what became of it, and says when more may be sent.
//
//	t := recovery.New(recovery.Config[item]{Fate: func(pn uint64, items []item, fate recovery.Fate) {
//		// Acked: what packet pn said has arrived; Lost or Repeat: it must be said again
//	}})
//	for {
//		ok, next := t.CanSend(now)
//		// if ok: send a packet of at most t.MaxPacket() bytes, marked t.ECN()
//		items = t.Sent(now, pn, size, true, items)
//	}
//	t.HandleAck(now, &ack)              // an acknowledgement arrives
//	t.HandleTimeout(now)                // t.NextTimeout() has passed
//
// A [Tracker] does loss detection, round-trip times and probe timeouts as RFC 9002 describes them, with thresholds that
// adapt to reordering (RFC 8985); it paces, samples the rate of delivery (draft-ietf-ccwg-bbr), validates ECN
// (RFC 9000 §13.4.2), finds the largest packet a path carries (RFC 8899), and drives a congestion controller. [Acks] is
// the other end: which packets have arrived, and when that must be said.
//
// Both are pure machines for one goroutine. In steady state neither allocates.
//
// # Limitations
//
// There is one path at a time. Marks are ECT(0) only. A probe for the packet size that is lost while nothing else is
// sent is noticed when sending goes on.
package recovery
