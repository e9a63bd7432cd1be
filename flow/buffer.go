// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Messages live in buffers from pools of power-of-two sizes; larger ones are left to the garbage collector, which also
// empties pools that are not used.
const (
	minBufferBits = 6
	maxBufferBits = 24
)

// A buffer holds one message. It has one owner at a time, or is shared and never changes. With the race detector, the memory of one that is free is
// overwritten, so that tests see who still reads it.
type buffer struct {
	b      []byte
	shared bool // a Payload's

	// lease counts the messages in whose name the buffer was released, so that a copy of a message cannot release it
	// again when it is another's.
	lease atomic.Uint32
}

// emptyBuffer is everybody's for messages without bytes, and never written to.
var emptyBuffer = buffer{b: []byte{}}

var buffers [maxBufferBits + 1]sync.Pool

// bufferClass returns the binary logarithm of the capacity of a buffer for n bytes.
func bufferClass(n int) int { return max(bits.Len(uint(max(n, 1)-1)), minBufferBits) }

// newBuffer returns a buffer of length zero with room for n bytes, and less than twice that unless n is small.
func newBuffer(n int) *buffer {
	if n == 0 {
		return &emptyBuffer
	}
	class := bufferClass(n)
	if class <= maxBufferBits {
		if buf, _ := buffers[class].Get().(*buffer); buf != nil {
			buf.b = buf.b[:0]
			return buf
		}
	}
	return &buffer{b: make([]byte, 0, 1<<class)}
}

// copyBuffer returns a buffer with a copy of p.
func copyBuffer(p []byte) *buffer {
	if bufferClass(len(p)) > maxBufferBits {
		return &buffer{b: append([]byte(nil), p...)}
	}
	buf := newBuffer(len(p))
	if len(p) > 0 {
		buf.b = append(buf.b, p...)
	}
	return buf
}

// free returns the buffer to its pool. Nobody may use it afterwards. One that is shared is left to the garbage collector.
func (buf *buffer) free() {
	if buf.shared {
		return
	}
	if class := bits.Len(uint(cap(buf.b) - 1)); cap(buf.b) > 1 && class <= maxBufferBits && cap(buf.b) == 1<<class {
		poison(buf.b[:cap(buf.b)])
		buffers[class].Put(buf)
	}
}
