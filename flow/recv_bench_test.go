// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A stream of chunks made beforehand, as one sender would make them.
type chunkSource struct {
	m      *Mux
	r      *Receiver
	size   int    // of a message
	packet []byte // scratch
	msg    []byte
	seq    uint64
	pn     uint64
}

func newChunkSource(tb testing.TB, size int) *chunkSource {
	m := NewMux(&Config{RecvWindow: max(4<<20, 2*size)})
	tb.Cleanup(func() { m.Close(epoch, errTestOver) })
	c := &chunkSource{m: m, size: size, packet: make([]byte, 0, 2048), msg: pattern(size, 1)}
	if err := m.handleOpen(&wire.FlowOpen{}); err != nil {
		tb.Fatal(err)
	}
	r, err := m.Accept(over)
	if err != nil {
		tb.Fatal(err)
	}
	c.r = r
	return c
}

// receive has the mux receive n messages, as many to a packet as fit, and reads them. The grants of credit, which the
// mux is never asked for, take effect all the same.
func (c *chunkSource) receive(tb testing.TB, n int) {
	off, packet := 0, c.packet[:0]
	flush := func() {
		for len(packet) > 0 {
			t, body, rest, err := wire.NextChunk(packet)
			if err == nil {
				err = c.m.HandleChunk(epoch, t, body)
			}
			if err != nil {
				tb.Fatal(err)
			}
			packet = rest
		}
		c.m.HandlePacketEnd(epoch, c.pn, true, wire.NotECT)
		c.pn++
		packet = c.packet[:0]
		for c.r.queue.len() > 0 {
			msg, err := c.r.Recv(over)
			if err != nil || len(msg.Data) != c.size {
				tb.Fatalf("Recv: %d bytes, %v", len(msg.Data), err)
			}
			msg.Release()
		}
		c.m.collect()
	}
	for n > 0 {
		d := wire.FlowData{Seq: c.seq, Offset: uint64(off)}
		k := min(d.Room(1171-len(packet)), c.size-off)
		if k <= 0 && off < c.size || k < 0 {
			flush()
			continue
		}
		d.Data, d.End = c.msg[off:off+k], off+k == c.size
		packet = d.Append(packet)
		if off += k; d.End {
			off = 0
			c.seq++
			n--
		}
	}
	flush()
}

// TestReceiveAllocations bounds what a message costs the receiver in steady state when it is released.
func TestReceiveAllocations(t *testing.T) {
	for _, test := range []struct {
		size, batch int
		want        float64 // for the batch
	}{{0, 200, 1}, {64, 200, 1}, {1 << 10, 100, 1}, {5000, 50, 1}, {64 << 10, 10, 1}, {1 << 20, 2, 4}} {
		c := newChunkSource(t, test.size)
		c.receive(t, 4*test.batch)
		n := testing.AllocsPerRun(20, func() { c.receive(t, test.batch) })
		if !raceEnabled && n > test.want {
			t.Errorf("%d messages of %d bytes: %v allocations, want at most %v", test.batch, test.size, n, test.want)
		}
	}
}

// BenchmarkReceive measures HandleChunk, Recv and Release, with the making of the chunks.
func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			c := newChunkSource(b, size)
			batch := max(1, (1<<20)/max(size, 1<<10))
			c.receive(b, batch)
			b.SetBytes(int64(size * batch))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				c.receive(b, batch)
				n += batch
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
		})
	}
}
