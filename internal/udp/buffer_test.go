// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import "testing"

func TestBufferSizes(t *testing.T) {
	for _, tt := range []struct{ n, want int }{
		{0, BufferSize},
		{BufferSize, BufferSize},
		{BufferSize + 1, 16 << 10},
		{16<<10 + 1, MaxBatch},
		{MaxBatch, MaxBatch},
	} {
		b := GetBuffer(tt.n)
		if b.Size() != tt.want || len(b.Bytes()) != tt.want {
			t.Errorf("GetBuffer(%d) has %d bytes, want %d", tt.n, b.Size(), tt.want)
		}
		b.Release()
	}
}

func TestBufferReferences(t *testing.T) {
	b := GetBuffer(1)
	if b.Shared() {
		t.Error("a new buffer is shared")
	}
	b.Retain()
	if !b.Shared() {
		t.Error("a buffer with two references is not shared")
	}
	b.Release()
	b.Bytes()[0] = 1
	if b.Shared() {
		t.Error("a buffer with one reference is shared")
	}
	b.Release()
	defer func() {
		if recover() == nil {
			t.Error("a buffer released too often does not panic")
		}
	}()
	b.Release()
}
