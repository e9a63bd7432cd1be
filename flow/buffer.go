// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"math/bits"
	"sync"
)

// Message copies come from pools of power-of-two sizes; larger ones are left to the garbage collector.
const (
	minBufferBits = 6
	maxBufferBits = 16
)

// A buffer holds the copy of one message. It has one owner at a time.
type buffer struct{ b []byte }

var buffers [maxBufferBits + 1]sync.Pool

// copyBuffer returns a buffer with a copy of p.
func copyBuffer(p []byte) *buffer {
	class := max(bits.Len(uint(max(len(p), 1)-1)), minBufferBits)
	if class > maxBufferBits {
		return &buffer{append([]byte(nil), p...)}
	}
	buf, _ := buffers[class].Get().(*buffer)
	if buf == nil {
		buf = &buffer{make([]byte, 0, 1<<class)}
	}
	buf.b = append(buf.b[:0], p...)
	return buf
}

// free returns the buffer to its pool. Nobody may use it afterwards.
func (buf *buffer) free() {
	if class := bits.Len(uint(cap(buf.b) - 1)); cap(buf.b) > 1 && class <= maxBufferBits && cap(buf.b) == 1<<class {
		buffers[class].Put(buf)
	}
}
