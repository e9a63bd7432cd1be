// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A benchItem is as large as what a flow says in a packet.
type benchItem struct {
	kind int
	p    [2]*int
	seq  uint64
	n    [2]int
}

// A stream sends packets and acknowledges them half a window later, as a bulk transfer does.
type stream struct {
	t     *Tracker[benchItem]
	now   time.Time
	pn    uint64
	items []benchItem
	ack   wire.Ack
	fates int
}

func newStream() *stream {
	s := &stream{now: epoch, items: make([]benchItem, 0, 4)}
	s.t = New(Config[benchItem]{Fate: func(uint64, []benchItem, Fate) { s.fates++ }})
	return s
}

// turn sends n packets, loses one of them if asked to, and acknowledges those of the turn before.
func (s *stream) turn(n int, lossy bool) {
	first := s.pn
	for range n {
		s.t.CanSend(s.now)
		s.items = append(s.items, benchItem{kind: 1, p: [2]*int{&s.fates}, seq: s.pn, n: [2]int{0, 1200}})
		s.items = s.t.Sent(s.now, s.pn, 1200, true, s.items)
		s.pn++
		s.now = s.now.Add(10 * time.Microsecond)
	}
	s.now = s.now.Add(time.Millisecond)
	if first == 0 {
		return
	}
	if lossy {
		s.ack.Ranges = append(s.ack.Ranges[:0], wire.AckRange{Start: first - uint64(n) + 1, End: first},
			wire.AckRange{Start: 0, End: first - uint64(n)})
	} else {
		s.ack.Ranges = append(s.ack.Ranges[:0], wire.AckRange{Start: 0, End: first})
	}
	if err := s.t.HandleAck(s.now, &s.ack); err != nil {
		panic(err)
	}
}

// BenchmarkPacket is what a packet costs: permission, record, and its share of an acknowledgement.
func BenchmarkPacket(b *testing.B) {
	for _, every := range []int{1, 2, 10, 64} {
		for _, lossy := range []bool{false, true} {
			if lossy && every < 10 {
				continue
			}
			b.Run(fmt.Sprintf("every=%d/lossy=%v", every, lossy), func(b *testing.B) {
				s := newStream()
				for range 5000 {
					s.turn(every, lossy)
				}
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					s.turn(every, lossy)
					n += every
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/packet")
			})
		}
	}
}

func BenchmarkAcksReceived(b *testing.B) {
	var a Acks
	now, pn := epoch, uint64(0)
	buf := make([]byte, 0, 1500)
	b.ReportAllocs()
	for b.Loop() {
		a.Received(now, pn, true, wire.ECT0, 20*time.Millisecond)
		if a.IsDue(now) {
			if _, ok := a.Append(now, buf, 1200); ok {
				a.Sent(true)
			}
		}
		pn++
		now = now.Add(10 * time.Microsecond)
	}
}

// TestAllocations: in steady state a packet costs no memory, lost ones included.
func TestAllocations(t *testing.T) {
	s := newStream()
	for range 5000 {
		s.turn(10, true)
	}
	if n := testing.AllocsPerRun(1000, func() { s.turn(10, true) }); n != 0 {
		t.Errorf("%.2f allocations per ten packets sent and acknowledged, want none", n)
	}
	if s.fates == 0 {
		t.Error("no packet's fate was told: the test measures nothing")
	}
}
