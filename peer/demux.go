// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"sync"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A datagram is a Runnel packet on its way to a session's loop. Whoever holds it returns buf to the pool.
type datagram struct {
	buf  *udp.Buffer
	n    int
	via  int32
	from netip.AddrPort
}

func (d *datagram) bytes() []byte { return d.buf[:d.n] }

// handleRunnel hands a Runnel packet to its session, named by the session ID in it and not by its address, or to
// the gate for those that have no session yet. b is the caller's.
func (e *Endpoint) handleRunnel(via int32, b []byte, from netip.AddrPort) {
	if len(b) == 0 || len(b) > udp.BufferSize || via == 0 && e.cfg.Policy.RelayOnly {
		e.drop(dropMalformed)
		return
	}
	switch b[0] {
	case wire.FirstInit, wire.FirstRetry, wire.FirstOpen, wire.FirstAnswer:
		if via == 0 {
			e.direct.handle(b, from)
		} else {
			e.drop(dropMalformed)
		}
		return
	}
	sid, ok := wire.PeekSessionID(b)
	if !ok {
		e.drop(dropMalformed)
		return
	}
	s := e.route(sid)
	if s == nil {
		e.drop(dropNoSession)
		return
	}
	if e.queued.Load() >= maxQueued {
		e.drop(dropQueueFull)
		return
	}
	d := datagram{buf: udp.GetBuffer(), n: len(b), via: via, from: from}
	copy(d.buf[:], b)
	e.queued.Add(1)
	if !s.inbox.put(d) { // the session is slower than its peer; congestion control learns of it by the loss
		e.queued.Add(-1)
		udp.PutBuffer(d.buf)
		e.drop(dropQueueFull)
		return
	}
	s.notify()
}

// An inbox is a session's bounded queue of datagrams. It takes no memory while it is empty for long.
type inbox struct {
	mu     sync.Mutex
	queue  []datagram
	spare  []datagram // what the loop has worked off, to be filled next
	closed bool
}

const (
	maxInbox  = 2048  // datagrams of a session: what a peer may have in flight on a fast path
	keptInbox = 256   // places kept for the next burst while there is nothing in them
	maxQueued = 16384 // datagrams of an endpoint, 32 MiB
)

// put appends d unless the inbox is full or closed.
func (in *inbox) put(d datagram) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed || len(in.queue) >= maxInbox {
		return false
	}
	in.queue = append(in.queue, d)
	return true
}

// take returns all there is. The result is valid until the next call but one.
func (in *inbox) take() []datagram {
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
	return q
}

// close empties the inbox, keeps it empty, and returns how many datagrams were in it.
func (in *inbox) close() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := len(in.queue)
	for _, d := range in.queue {
		udp.PutBuffer(d.buf)
	}
	in.queue, in.spare, in.closed = nil, nil, true
	return n
}
