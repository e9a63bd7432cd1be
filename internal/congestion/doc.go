// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package congestion holds the congestion controllers of a path: pure machines that are told what was sent, delivered
// and lost, and answer how much may be in flight and how fast it may go out.
//
//	c := congestion.NewReno(1200)
//	for c.Window() > inFlight {
//		// send a packet of size bytes
//		c.HandleSent(now, number, size, inFlight)
//	}
//	// an acknowledgement arrives
//	c.HandleAck(now, &congestion.Ack{Bytes: 1200, Packets: 1, Largest: number, SentAt: sentAt, RTT: rtt, Limited: true})
//
// # Limitations
//
// There is NewReno only.
package congestion
