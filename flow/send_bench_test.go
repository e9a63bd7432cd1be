// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkSend measures Send and what becomes of its messages: the loop's part, the packets, the receiver's part and
// the acknowledgements, all in one goroutine and with nothing sealed.
func BenchmarkSend(b *testing.B) {
	for _, bench := range []struct {
		terms string
		opts  []SendOption
	}{
		{"none", nil},
		{"deadlines", []SendOption{StartWithin(time.Second), FinishWithin(2 * time.Second)}},
		{"transmits", []SendOption{Transmits(1)}},
	} {
		for _, size := range []int{64, 1024} {
			b.Run(fmt.Sprintf("terms=%s/size=%d", bench.terms, size), func(b *testing.B) {
				p := newPipe()
				s, err := p.a.Open("bench", nil)
				if err != nil {
					b.Fatal(err)
				}
				msg := pattern(size, 1)
				var r *Receiver
				batch := 1 << 19 / (size + 64)
				round := func() {
					for range batch {
						if _, err := s.Send(context.Background(), msg, bench.opts...); err != nil {
							b.Fatal(err)
						}
					}
				}
				drain := func() {
					for s.buffered > 0 {
						p.turn()
						if r == nil {
							r, _ = p.b.Accept(over)
						}
						for {
							m, err := r.Recv(over)
							if err != nil {
								break
							}
							m.Release()
						}
					}
				}
				for range 20 {
					round()
					drain()
				}
				b.ReportAllocs()
				var sending time.Duration
				n := 0
				for b.Loop() {
					start := time.Now()
					round()
					sending += time.Since(start)
					drain()
					n += batch
				}
				b.ReportMetric(float64(sending.Nanoseconds())/float64(n), "ns/send")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
				b.ReportMetric(float64(batch), "messages/op")
			})
		}
	}
}
