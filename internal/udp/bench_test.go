// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package udp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// cpuTime returns the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func newGCM(tb testing.TB) cipher.AEAD {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		tb.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		tb.Fatal(err)
	}
	return aead
}

// BenchmarkRaw is what this machine can do at best: datagrams over loopback, one call for each or in trains, bare or
// sealed and opened with AES-128-GCM, both ends in this process. It is what a session's numbers are to be compared with,
// of the same run and packet size.
func BenchmarkRaw(b *testing.B) {
	for _, size := range []int{1200, 1472, 8952} {
		for _, train := range []int{1, MaxSegments} {
			for _, sealed := range []bool{false, true} {
				b.Run(fmt.Sprintf("size=%d/train=%d/sealed=%v", size, train, sealed), func(b *testing.B) {
					benchmarkRaw(b, size, min(train, MaxTrain/size), sealed)
				})
			}
		}
	}
}

func benchmarkRaw(b *testing.B, size, train int, sealed bool) {
	const header, tag, window = 13, 16, 1 << 20
	send, recv := New(listen(b, "udp4")), New(listen(b, "udp4"))
	var got atomic.Int64
	more, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		aead, nonce, buf := newGCM(b), make([]byte, 12), make([]byte, MaxBatch)
		for n := uint64(0); ; {
			r, err := recv.ReadBatch(buf)
			if err != nil {
				return
			}
			for p := buf[:r.N]; sealed && len(p) > 0; n++ {
				pkt := p[:min(r.Segment, len(p))]
				p = p[len(pkt):]
				binary.BigEndian.PutUint64(nonce[4:], n)
				if _, err := aead.Open(pkt[header:header], nonce, pkt[header:], pkt[:header]); err != nil {
					b.Errorf("packet %d does not open: it, or one before it, was lost", n)
					return
				}
			}
			got.Add(int64(r.N))
			select {
			case more <- struct{}{}:
			default:
			}
		}
	}()
	aead, nonce := newGCM(b), make([]byte, 12)
	buf := make([]byte, 0, MaxBatch)
	to, n, sent := recv.LocalAddr(), uint64(0), int64(0)
	b.SetBytes(int64(train * (size - header - tag)))
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		for sent-got.Load() > window-int64(train*size) {
			select {
			case <-more:
			case <-done:
				b.FailNow()
			}
		}
		buf = buf[:0]
		for range train {
			pkt := buf[len(buf) : len(buf)+size]
			if sealed {
				binary.BigEndian.PutUint64(nonce[4:], n)
				aead.Seal(pkt[:header], nonce, pkt[header:size-tag], pkt[:header])
			}
			buf = buf[:len(buf)+size]
			n++
		}
		if k, err := send.WriteBatch(buf, size, to, wire.NotECT); err != nil || k != train {
			b.Fatalf("WriteBatch = %d, %v; want %d", k, err, train)
		}
		sent += int64(len(buf))
	}
	gb := float64(b.N) * float64(train*(size-header-tag)) / 1e9
	b.ReportMetric((cpuTime(b)-start).Seconds()/gb, "cpu-s/GB")
	if n := recv.Close(); n != nil {
		b.Fatal(n)
	}
	<-done
}
