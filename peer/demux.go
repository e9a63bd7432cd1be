// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A train is Runnel packets that came one behind the other, on their way to a session's loop.
type train struct {
	buf     *udp.Buffer // what b is in; whoever holds the train releases it
	b       []byte
	segment int // the size of each packet; the last may be shorter
	via     int32
	mark    wire.ECN
	from    netip.AddrPort
}

// packets returns how many packets are in the train.
func (t *train) packets() int { return (len(t.b) + t.segment - 1) / t.segment }

// charge is the memory that the train holds, in bytes.
func (t *train) charge() int { return t.buf.Size() }

// keptWhole is how long a train must be to stay in the buffer that it was read into. A shorter one is copied into a
// buffer of its size, so that a small packet does not keep 64 KiB from being used.
const keptWhole = 16 << 10

// handleBatch sorts what one read of a shared socket gave. The datagrams in it have nothing in common but where they
// came from. Who needs buf for longer retains it.
func (e *Endpoint) handleBatch(buf *udp.Buffer, r udp.Batch) {
	if r.N == 0 {
		e.drop(dropUnknownClass)
		return
	}
	for b := buf.Bytes()[:r.N]; len(b) > 0; {
		n := min(r.Segment, len(b))
		if udp.Classify(b) != udp.Runnel {
			e.handleDatagram(b[:n], r.From)
			b = b[n:]
			continue
		}
		if n < len(b) {
			n = runLength(b, r.Segment)
		}
		e.handleRunnel(train{buf: buf, b: b[:n], segment: r.Segment, mark: r.ECN, from: r.From})
		b = b[n:]
	}
}

// handleSingle sorts one datagram. b is the caller's.
func (e *Endpoint) handleSingle(b []byte, from netip.AddrPort, mark wire.ECN) {
	if udp.Classify(b) == udp.Runnel {
		e.handleRunnel(train{b: b, segment: len(b), mark: mark, from: from})
		return
	}
	e.handleDatagram(b, from)
}

// runLength returns how many bytes at the start of b are packets of one session.
func runLength(b []byte, segment int) int {
	n := min(segment, len(b))
	sid, ok := wire.PeekSessionID(b[:n])
	for ok && n < len(b) {
		next := b[n:min(n+segment, len(b))]
		if other, is := wire.PeekSessionID(next); !is || other != sid {
			break
		}
		n += len(next)
	}
	return n
}

// handleRunnel hands packets to their session, named by the session ID in them and not by their address, or to the
// gate for those that have no session yet, which come one by one. The memory is the caller's: it is copied, or t.buf
// is retained if it is not nil.
func (e *Endpoint) handleRunnel(t train) {
	if len(t.b) == 0 {
		e.dropped[dropMalformed].Add(uint64(max(t.packets(), 1)))
		return
	}
	switch t.b[0] {
	case wire.FirstInit, wire.FirstRetry, wire.FirstOpen, wire.FirstAnswer:
		if t.via == 0 {
			e.direct.handle(t.b, t.from)
		} else {
			e.drop(dropMalformed)
		}
		return
	}
	sid, ok := wire.PeekSessionID(t.b)
	if !ok {
		e.drop(dropMalformed)
		return
	}
	n := t.packets()
	s := e.route(sid)
	if s == nil {
		e.dropped[dropNoSession].Add(uint64(n))
		return
	}
	if e.queued.Load() >= maxQueued {
		e.dropped[dropQueueFull].Add(uint64(n))
		return
	}
	if t.buf != nil && len(t.b) > keptWhole {
		t.buf.Retain()
	} else {
		b := t.b
		t.buf = udp.GetBuffer(len(b))
		t.b = t.buf.Bytes()[:copy(t.buf.Bytes(), b)]
	}
	charge, size := int64(t.charge()), len(t.b)
	e.queued.Add(charge)
	if !s.inbox.put(t) { // the session is slower than its peer; congestion control learns of it by the loss
		e.queued.Add(-charge)
		t.buf.Release()
		e.dropped[dropQueueFull].Add(uint64(n))
		return
	}
	s.received(size)
}
