// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import "sync"

// An inbox is a session's bounded queue of packets. It takes no memory while it is empty for long.
type inbox struct {
	mu      sync.Mutex
	queue   []train
	spare   []train // what the loop has worked off, to be filled next
	packets int     // in queue
	bytes   int     // of memory that queue holds
	closed  bool
}

const (
	maxInbox      = 2048     // packets of a session: what a peer may have in flight on a fast path
	maxInboxBytes = 4 << 20  // bytes of memory, the unused parts of buffers included
	keptInbox     = 8        // places kept for the next burst while there is nothing in them
	maxQueued     = 32 << 20 // bytes of memory in all inboxes of an endpoint
)

// put appends t unless the inbox is full or closed.
func (in *inbox) put(t train) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed || in.packets >= maxInbox || in.bytes >= maxInboxBytes {
		return false
	}
	in.queue = append(in.queue, t)
	in.packets += t.packets()
	in.bytes += t.charge()
	return true
}

// take returns all there is. The result is valid until the next call but one; the caller clears it.
func (in *inbox) take() []train {
	in.mu.Lock()
	defer in.mu.Unlock()
	q := in.queue
	if len(q) == 0 {
		if in.spare = nil; cap(in.queue) > keptInbox {
			in.queue = nil
		}
		return nil
	}
	in.queue, in.spare = in.spare[:0], q
	in.packets, in.bytes = 0, 0
	return q
}

// close empties the inbox, keeps it empty, and returns the memory that was in it, in bytes.
func (in *inbox) close() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := in.bytes
	for _, t := range in.queue {
		t.buf.Release()
	}
	in.queue, in.spare, in.closed, in.packets, in.bytes = nil, nil, true, 0, 0
	return n
}
