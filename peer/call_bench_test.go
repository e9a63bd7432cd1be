// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// BenchmarkCall makes calls that the peer echoes, between two endpoints of this process, over loopback and over a
// network in memory.
func BenchmarkCall(b *testing.B) {
	nets := map[string]func(testing.TB) (near, far *peer.Session){"loopback": loopbackPair, "memory": memoryPair}
	for _, network := range slices.Sorted(maps.Keys(nets)) {
		for _, size := range []int{64, 16 << 10} {
			for _, callers := range []int{1, 16, 256} {
				b.Run(fmt.Sprintf("net=%s/size=%d/callers=%d", network, size, callers), func(b *testing.B) {
					near, far := nets[network](b)
					far.Handle("echo", answer)
					benchmarkCalls(b, near, size, callers)
				})
			}
		}
	}
}

// memoryPair returns the ends of a session on a network in memory.
func memoryPair(b testing.TB) (near, far *peer.Session) {
	b.Helper()
	n := peertest.New(b, &peertest.Config{NoRelay: true})
	dialler, listener := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
	near, err := dialler.Dial(b.Context(), listener.ID())
	if err != nil {
		b.Fatal(err)
	}
	far, err = listener.Accept(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return near, far
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
