// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

// A batch is packets for one path, sealed one behind the other, that one system call sends. They are of one size; the
// last may be shorter, and then nothing can follow it.
type batch struct {
	key     mobility.Key
	mark    wire.ECN
	segment int
	b       []byte      // the packets
	buf     *udp.Buffer // what b is in; only held while sending: an idle session has none
}

// begin sees to it that there is a buffer.
func (c *batch) begin() {
	if c.buf == nil {
		c.buf = udp.GetBuffer(udp.MaxBatch)
		c.b = c.buf.Bytes()[:0]
	}
}

// end gives the buffer back.
func (c *batch) end() {
	if c.buf != nil {
		c.buf.Release()
		c.buf, c.b = nil, nil
	}
}

// room is the memory behind the batch, where the next packet is built.
func (c *batch) room() []byte { return c.b[len(c.b):] }

// fits says whether a packet of n bytes can follow the ones that are there.
func (c *batch) fits(n int) bool { return len(c.b) == 0 || n <= c.segment }

// add takes in a packet that was built in room and fits. It reports whether that was the last.
func (c *batch) add(pkt []byte) (full bool) {
	if len(c.b) == 0 {
		c.segment = len(pkt)
	}
	n := len(c.b)
	c.b = c.b[:n+len(pkt)]
	copy(c.b[n:], pkt) // of itself, unless what was before it has been sent meanwhile
	return len(pkt) < c.segment
}
