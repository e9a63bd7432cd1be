// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"sync"
	"sync/atomic"
)

const (
	// BufferSize is the size in bytes of the smallest buffer: more than any datagram this protocol sends on an Ethernet
	// path.
	BufferSize = 2048

	// MaxBatch is the size in bytes of the largest buffer: as much as one call may read.
	MaxBatch = 64 << 10
)

// bufferSizes are the sizes there are. A single datagram of a path with jumbo frames, and a short train, take the one
// between.
var bufferSizes = [...]int{BufferSize, 16 << 10, MaxBatch}

// A Buffer holds datagrams. It is shared by those who hold a reference, and free for use by others when the last of
// them has released it. Parts of a Buffer may be written by whom they were handed to.
type Buffer struct {
	refs atomic.Int32
	pool *sync.Pool
	b    []byte
}

var pools [len(bufferSizes)]sync.Pool

func init() {
	for i := range pools {
		p := &pools[i]
		p.New = func() any { return &Buffer{pool: p, b: make([]byte, bufferSizes[i])} }
	}
}

// GetBuffer returns a buffer of at least n bytes, with arbitrary contents and one reference, the caller's. It panics
// if n is more than [MaxBatch].
func GetBuffer(n int) *Buffer {
	class := 0
	for n > bufferSizes[class] {
		class++
	}
	b := pools[class].Get().(*Buffer)
	b.refs.Store(1)
	return b
}

// Bytes returns the memory of the buffer, all of it.
func (b *Buffer) Bytes() []byte { return b.b }

// Size is how many bytes the buffer takes up, however few are used.
func (b *Buffer) Size() int { return len(b.b) }

// Retain adds a reference. Only who holds one may.
func (b *Buffer) Retain() { b.refs.Add(1) }

// Shared reports whether anybody besides the caller, who holds a reference, holds one.
func (b *Buffer) Shared() bool { return b.refs.Load() > 1 }

// Release gives a reference back. The caller must not touch the buffer, or any slice of it, afterwards. A buffer that
// is never released costs an allocation and nothing else; one released too often panics, at the latest when its
// next user releases it. With the race detector the memory is overwritten, so that tests see who still reads it.
func (b *Buffer) Release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("udp: buffer released more often than retained")
	default:
		poison(b.b)
		b.pool.Put(b)
	}
}
