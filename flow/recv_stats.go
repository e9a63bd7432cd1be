// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "time"

// ReceiverStats is a snapshot of a flow's receiving end, as of the last packet of the flow.
type ReceiverStats struct {
	Messages  uint64 // handed over: read, or at hand
	Bytes     uint64 // of them
	Skipped   uint64 // messages abandoned by the sender before they were complete
	Outdated  uint64 // messages dropped, in the order Latest, because a newer one was complete
	Late      uint64 // of Messages, those handed over after others that follow them
	Duplicate uint64 // bytes received again, or of messages settled before: abandoned, outdated, rejected

	AtHand   int       // messages that Recv need not wait for
	Oldest   time.Time // when the first of those was complete; zero if there is none
	Buffered int       // bytes held, in messages at hand or not complete, and 64 more for each of these

	Granted uint64 // credit given to the sender since the beginning, see docs/PROTOCOL.md §9
	Used    uint64 // credit the sender has used
	Window  int    // bytes the sender may be ahead of the reader at present

	freed uint64 // of Used, given back
}

// Stats returns a snapshot. It may be called from any goroutine.
func (r *Receiver) Stats() ReceiverStats {
	r.gate.Lock()
	s := r.stats
	s.Messages, s.Bytes, s.Outdated = s.Messages-r.dropped, s.Bytes-r.droppedBytes, s.Outdated+r.dropped
	s.AtHand = r.queue.len()
	if s.AtHand > 0 {
		s.Oldest = r.m.epoch.Add(time.Duration(r.queue.front().at))
	}
	s.Buffered = int(s.Used - min(s.Used, s.freed+r.consumed))
	r.gate.Unlock(r.readable())
	s.freed = 0
	return s
}
