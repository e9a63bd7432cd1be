// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

var benchSizes = []int{64, 1200, 8952} // bytes of UDP payload

// BenchmarkSealOverhead compares sealing a packet with what its cipher alone takes.
func BenchmarkSealOverhead(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("size=%d/bare=true", size), func(b *testing.B) {
			aead, err := AES128GCM.newAEAD(make([]byte, 16))
			if err != nil {
				b.Fatal(err)
			}
			nonce, buf := make([]byte, nonceSize), make([]byte, size)
			const hdr = wire.MaxHeaderLen
			b.SetBytes(int64(size))
			for n := uint64(0); b.Loop(); n++ {
				binary.BigEndian.PutUint64(nonce[4:], n)
				aead.Seal(buf[:hdr], nonce, buf[hdr:size-tagSize], buf[:hdr])
			}
		})
		b.Run(fmt.Sprintf("size=%d/bare=false", size), func(b *testing.B) {
			s, err := NewSession(Secret{1}, Initiator, AES128GCM, nil)
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				pn := s.NextPN()
				pkt := wire.AppendHeader(buf[:0], 7, s.KeyPhase(), pn, int64(pn)-1)
				hdr := len(pkt)
				if s.Seal(buf[:size-tagSize], hdr, pn) == nil {
					b.Fatal("keys are exhausted")
				}
				s.send.count = 0 // no update: that is not what is measured
			}
		})
	}
}

// BenchmarkOpenOverhead compares opening a packet with what its cipher alone takes. Both copy the packet first, for it is opened
// in place.
func BenchmarkOpenOverhead(b *testing.B) {
	const batch = 512
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("size=%d/bare=true", size), func(b *testing.B) {
			aead, err := AES128GCM.newAEAD(make([]byte, 16))
			if err != nil {
				b.Fatal(err)
			}
			const hdr = wire.MaxHeaderLen
			nonce, pkt, buf := make([]byte, nonceSize), make([]byte, size), make([]byte, size)
			aead.Seal(pkt[:hdr], nonce, pkt[hdr:size-tagSize], pkt[:hdr])
			b.SetBytes(int64(size))
			for b.Loop() {
				copy(buf, pkt)
				if _, err := aead.Open(buf[hdr:hdr], nonce, buf[hdr:], buf[:hdr]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("size=%d/bare=false", size), func(b *testing.B) {
			from, err := NewSession(Secret{1}, Initiator, AES128GCM, nil)
			if err != nil {
				b.Fatal(err)
			}
			to, err := NewSession(Secret{1}, Responder, AES128GCM, nil)
			if err != nil {
				b.Fatal(err)
			}
			pkts := make([][]byte, batch)
			for i := range pkts {
				pn := from.NextPN()
				pkt := wire.AppendHeader(make([]byte, 0, size), 7, false, pn, int64(pn)-1)
				pkts[i] = from.Seal(pkt[:size-tagSize], len(pkt), pn)
			}
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%batch == 0 {
					to.recv.window = replayWindow{}
				}
				copy(buf, pkts[n%batch])
				h, err := wire.ParseHeader(buf)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := to.Open(buf, h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
