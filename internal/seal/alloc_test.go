// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"fmt"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

func TestNoAllocations(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite Suite) {
		p := newPair(t, suite, nil)
		buf := make([]byte, 0, 1500)
		payload := make([]byte, 1100)
		n := testing.AllocsPerRun(1000, func() {
			pn := p.a.NextPN()
			pkt := wire.AppendHeader(buf, 1, p.a.KeyPhase(), pn, int64(pn)-10)
			hdrLen := len(pkt)
			pkt = p.a.Seal(append(pkt, payload...), hdrLen, pn)
			h, err := wire.ParseHeader(pkt)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.b.Open(pkt, h); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("Seal and Open allocate %v times per packet, want 0", n)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	eachSize(b, func(b *testing.B, p *pair, size int) {
		buf := make([]byte, size, size+tagSize)
		copy(buf, wire.AppendHeader(nil, 1, false, 0, -1))
		for b.Loop() {
			if p.a.Seal(buf, 10, p.a.NextPN()) == nil {
				p.a.HandleAcked(p.a.NextPN() - 1)
				p.a.send.count = 0
			}
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	eachSize(b, func(b *testing.B, p *pair, size int) {
		buf := make([]byte, 0, size+32)
		payload := make([]byte, size)
		for b.Loop() {
			p.a.send.count = 0 // no update: that is not what is measured
			pn := p.a.NextPN()
			pkt := wire.AppendHeader(buf, 1, false, pn, int64(pn)-1)
			hdrLen := len(pkt)
			pkt = p.a.Seal(append(pkt, payload[:size-hdrLen]...), hdrLen, pn)
			h, _ := wire.ParseHeader(pkt)
			if _, _, err := p.b.Open(pkt, h); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func eachSize(b *testing.B, f func(b *testing.B, p *pair, size int)) {
	for _, suite := range suites {
		for _, size := range []int{64, 256, 1200, 1452} {
			b.Run(fmt.Sprintf("suite=%v/size=%d", suite, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				f(b, newPair(b, suite, nil), size)
			})
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	p := newPair(b, AES128GCM, nil)
	b.ReportAllocs()
	for b.Loop() {
		p.a.updateSend()
	}
}
