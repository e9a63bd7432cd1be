// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestWindowNotUsed: a driver that has no time to fill the window must not see it grow for ever (RFC 9002 §7.8).
// Each side runs every 200 µs, for at most 64 packets; the path takes 100 µs and loses nothing.
func TestWindowNotUsed(t *testing.T) {
	type packet struct {
		pn   uint64
		data []byte
	}
	now := epoch
	run := func(m *Mux, in, out *[]packet, pn *uint64) {
		for _, p := range *in {
			eliciting := false
			for b := p.data; len(b) > 0; {
				typ, body, rest, err := wire.NextChunk(b)
				if err != nil {
					t.Fatal(err)
				}
				b, eliciting = rest, eliciting || typ.AckEliciting()
				if typ == wire.ChunkPing || typ == wire.ChunkPadding {
					continue
				}
				if err := m.HandleChunk(now, typ, body); err != nil {
					t.Fatal(err)
				}
			}
			m.HandlePacketEnd(now, p.pn, eliciting, wire.NotECT)
		}
		*in = nil
		if at := m.NextTimeout(); !at.IsZero() && !at.After(now) {
			m.HandleTimeout(now)
		}
		for range 64 {
			b := m.Append(now, *pn, nil, 1171)
			if len(b) == 0 {
				return
			}
			m.Sent(now, *pn, len(b)+overhead, false)
			*out = append(*out, packet{*pn, b})
			*pn++
		}
	}
	a, b := NewMux(nil), NewMux(nil)
	defer a.Close(epoch, errTestOver)
	defer b.Close(epoch, errTestOver)
	s, err := a.Open("x", &Options{SendBuffer: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var ab, ba []packet
	var pa, pb uint64
	var r *Receiver
	msg, most := make([]byte, 16<<10), 0
	for now.Before(epoch.Add(time.Second)) {
		for err = nil; err == nil; {
			_, err = s.TrySend(msg)
		}
		run(a, &ba, &ab, &pa)
		most = max(most, a.loss.InFlight())
		now = now.Add(100 * time.Microsecond)
		run(b, &ab, &ba, &pb)
		now = now.Add(100 * time.Microsecond)
		if r == nil && b.acceptq.len() > 0 {
			r, _ = b.Accept(t.Context())
		}
		for r != nil && r.queue.len() > 0 {
			_, _ = r.Recv(t.Context())
		}
	}
	if w := a.Stats().CongestionWindow; w > 8*most {
		t.Errorf("window of %d bytes although never more than %d were in flight", w, most)
	}
}
