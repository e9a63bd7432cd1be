// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package peer_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// cpuTime returns the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBulk sends messages on one flow over loopback and reports what both ends together cost. Compare it with
// BenchmarkRaw of internal/udp in the same run.
func BenchmarkBulk(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			near, far := loopbackPair(b)
			out, err := near.OpenFlow("bulk", nil)
			if err != nil {
				b.Fatal(err)
			}
			out.Announce()
			in, err := far.AcceptFlow(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				for {
					m, err := in.Recv(b.Context())
					if err != nil || len(m.Data) == 1 {
						done <- err
						return
					}
				}
			}()
			msg := make([]byte, size)
			send := func(m []byte) {
				if _, err := out.Send(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
			for range (16 << 20) / size { // the path's capacity is found
				send(msg)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			before, start := near.Stats(), cpuTime(b)
			for b.Loop() {
				send(msg)
			}
			send(msg[:1])
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			st := near.Stats()
			b.ReportMetric((cpuTime(b)-start).Seconds()/(float64(b.N)*float64(size)/1e9), "cpu-s/GB")
			b.ReportMetric(float64(st.BytesSent-before.BytesSent)/float64(st.PacketsSent-before.PacketsSent), "B/packet")
			b.ReportMetric(float64(st.Flow.PacketsLost-before.Flow.PacketsLost), "lost")
		})
	}
}

// BenchmarkPingPongTail measures how the round trip of a small message is distributed.
func BenchmarkPingPongTail(b *testing.B) {
	near, far := loopbackPair(b)
	go echoSession(b.Context(), far)
	out, err := near.OpenFlow("ping", nil)
	if err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, 64)
	if _, err := out.Send(b.Context(), msg); err != nil {
		b.Fatal(err)
	}
	in, err := near.AcceptFlow(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := in.Recv(b.Context()); err != nil {
		b.Fatal(err)
	}
	took := make([]time.Duration, 0, 1<<20)
	start := cpuTime(b)
	for b.Loop() {
		at := time.Now()
		if _, err := out.Send(b.Context(), msg); err != nil {
			b.Fatal(err)
		}
		if _, err := in.Recv(b.Context()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	b.ReportMetric((cpuTime(b)-start).Seconds()*1e6/float64(len(took)), "cpu-µs/op")
	for _, p := range []int{50, 90, 99} {
		b.ReportMetric(float64(took[len(took)*p/100])/1e3, fmt.Sprintf("p%d-µs", p))
	}
}
