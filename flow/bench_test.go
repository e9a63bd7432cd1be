// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A pipe moves packets between two muxes at once, without copying or sealing.
type pipe struct {
	now      time.Time
	a, b     *Mux
	pa, pb   uint64
	buf      []byte
	packets  int
	failures int
}

func newPipe() *pipe {
	return &pipe{now: epoch, a: NewMux(&Config{}), b: NewMux(&Config{}), buf: make([]byte, 0, 2048)}
}

// move carries what from has to say to to.
func (p *pipe) move(from, to *Mux, pn *uint64) (moved bool) {
	for {
		payload := from.Append(p.now, *pn, p.buf, 1171)
		if len(payload) == 0 {
			return moved
		}
		from.Sent(p.now, *pn, len(payload)+overhead, false)
		moved = true
		p.packets++
		eliciting := false
		for len(payload) > 0 {
			t, body, rest, err := wire.NextChunk(payload)
			if err == nil && (t.IsAck() || t.IsFlow()) {
				err = to.HandleChunk(p.now, t, body)
			}
			if err != nil {
				p.failures++
			}
			eliciting = eliciting || t.AckEliciting()
			payload = rest
		}
		to.HandlePacketEnd(p.now, *pn, eliciting, wire.NotECT)
		*pn++
	}
}

// turn lets a millisecond pass and both ends say what they have to.
func (p *pipe) turn() {
	p.now = p.now.Add(time.Millisecond)
	for p.move(p.a, p.b, &p.pa) || p.move(p.b, p.a, &p.pb) {
	}
	for _, m := range []*Mux{p.a, p.b} {
		if at := m.NextTimeout(); !at.IsZero() && !at.After(p.now) {
			m.HandleTimeout(p.now)
		}
	}
}

// transfer sends and receives n messages of a flow.
func (p *pipe) transfer(tb testing.TB, s *Sender, r **Receiver, msg []byte, n int) {
	sent := 0
	for received := 0; received < n; {
		for sent < n {
			if _, err := s.TrySend(msg); err != nil {
				break
			}
			sent++
		}
		p.turn()
		if *r == nil {
			*r, _ = p.b.Accept(over)
		}
		for *r != nil && received < n {
			got, err := (*r).Recv(over)
			if err != nil {
				break
			}
			got.Release()
			received++
		}
	}
	if p.failures > 0 {
		tb.Fatalf("%d chunks refused", p.failures)
	}
}

func BenchmarkTransfer(b *testing.B) {
	for _, size := range []int{64, 1024, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			p := newPipe()
			s, err := p.a.Open("bench", nil)
			if err != nil {
				b.Fatal(err)
			}
			var r *Receiver
			msg := pattern(size, 1)
			// A batch fills the window, so that what is measured is not the harness.
			batch := max(1, min(1000, 1<<20/size))
			p.transfer(b, s, &r, msg, 10*batch)
			p.packets = 0
			b.SetBytes(int64(size * batch))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				p.transfer(b, s, &r, msg, batch)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(p.packets), "ns/packet")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*batch), "ns/message")
		})
	}
}

// TestSendAllocations bounds what a message costs both machines in steady state, when the reader releases it.
func TestSendAllocations(t *testing.T) {
	p := newPipe()
	s, err := p.a.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	var r *Receiver
	msg := pattern(1000, 1)
	const batch = 200
	p.transfer(t, s, &r, msg, 20*batch)
	n := testing.AllocsPerRun(20, func() { p.transfer(t, s, &r, msg, batch) }) / batch
	// Receipts come 32 at a time.
	t.Logf("%.2f allocations per message", n)
	if !raceEnabled && n > 0.1 {
		t.Errorf("%.2f allocations per message of 1000 bytes, want at most 0.1", n)
	}
}
