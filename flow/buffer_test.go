// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"sync"
	"testing"
)

// TestBufferSizes checks what a message may take beyond its length.
func TestBufferSizes(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 1200, 1 << 16, 1<<16 + 1, 1<<24 - 1, 1 << 24, 1<<24 + 1} {
		for range 2 { // new, and from the pool
			buf := newBuffer(n)
			if c := cap(buf.b); len(buf.b) != 0 || c < n || c >= max(2*n, 65) {
				t.Errorf("buffer for %d bytes: length %d, capacity %d", n, len(buf.b), c)
			}
			buf.free()
		}
		if buf := copyBuffer(pattern(n, 1)); len(buf.b) != n {
			t.Errorf("copy of %d bytes has %d", n, len(buf.b))
		}
	}
}

// TestEmptyBuffers uses the buffer that all empty messages share in several goroutines, for the race detector.
func TestEmptyBuffers(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				msg := Message{buf: copyBuffer(nil)}
				if msg.Data = msg.buf.b; msg.Data == nil || cap(msg.Data) > 0 {
					t.Errorf("empty message %v with room for %d bytes", msg.Data, cap(msg.Data))
				}
				msg.Release()
			}
		})
	}
	wg.Wait()
}
