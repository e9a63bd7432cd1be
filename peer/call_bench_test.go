// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// BenchmarkCall makes calls that the peer echoes, between two endpoints of this process over loopback.
func BenchmarkCall(b *testing.B) {
	for _, size := range []int{64, 16 << 10} {
		for _, callers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("size=%d/callers=%d", size, callers), func(b *testing.B) {
				near, far := loopbackPair(b)
				far.Handle("echo", answer)
				benchmarkCalls(b, near, size, callers)
			})
		}
	}
}

func benchmarkCalls(b *testing.B, s *peer.Session, size, callers int) {
	b.Helper()
	req := make([]byte, size)
	work := make(chan struct{}, callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range work {
				if _, err := s.Call(context.Background(), "echo", req, nil); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
