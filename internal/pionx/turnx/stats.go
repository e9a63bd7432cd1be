// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import "sync/atomic"

// Stats counts what an allocation did since Allocate.
type Stats struct {
	Sent         uint64 // packets handed to the connection
	Received     uint64 // packets handed to OnPacket
	QueueFull    uint64 // WriteTo: dropped, queue full
	NoPermission uint64 // WriteTo: refused, not permitted
	SendErrors   uint64 // packets the connection did not take
	OverPeers    uint64 // Permit: addresses beyond MaxPermissions
	Refused      uint64 // permissions refused or unanswered
	Foreign      uint64 // datagrams that were not the server's
	Malformed    uint64 // messages that are neither sane STUN nor channel data of ours
	Unsigned     uint64 // responses without valid MESSAGE-INTEGRITY
	Unwanted     uint64 // packets of peers that are not permitted (any more)
}

type counters struct {
	sent, received, queueFull, noPermission, sendErrors, overPeers, refused, foreign, malformed, unsigned, unwanted atomic.Uint64
}

// Stats returns the counters.
func (a *Allocation) Stats() Stats {
	c := &a.stats
	return Stats{
		Sent: c.sent.Load(), Received: c.received.Load(), QueueFull: c.queueFull.Load(),
		NoPermission: c.noPermission.Load(), SendErrors: c.sendErrors.Load(), OverPeers: c.overPeers.Load(),
		Refused: c.refused.Load(), Foreign: c.foreign.Load(), Malformed: c.malformed.Load(),
		Unsigned: c.unsigned.Load(), Unwanted: c.unwanted.Load(),
	}
}
