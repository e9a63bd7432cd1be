// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import "sync"

// BufferSize is the size of a [Buffer] in bytes: more than any datagram this protocol sends on an Ethernet path. A
// longer datagram is cut by the socket and then fails its checks.
const BufferSize = 2048

// A Buffer holds one datagram. A Buffer has one owner at a time; passing it on passes the ownership, and the last
// owner gives it back.
type Buffer [BufferSize]byte

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// GetBuffer returns a buffer with arbitrary contents. The caller owns it.
func GetBuffer() *Buffer { return buffers.Get().(*Buffer) }

// PutBuffer gives a buffer back. The caller must not touch it, or any slice of it, afterwards. A buffer that is
// never given back costs an allocation and nothing else; one given back twice corrupts datagrams. nil is ignored.
func PutBuffer(b *Buffer) {
	if b != nil {
		buffers.Put(b)
	}
}
