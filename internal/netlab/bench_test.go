// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

// BenchmarkNetwork sends 1200-byte packets from one host to another, a window of them at a time, in real time.
func BenchmarkNetwork(b *testing.B) {
	for _, nat := range []netlab.NAT{netlab.Public, netlab.PortRestricted} {
		b.Run("nat="+nat.String(), func(b *testing.B) {
			n, err := netlab.New(nil)
			if err != nil {
				b.Fatal(err)
			}
			defer n.Close()
			src, _ := n.AddHost(nat)
			dst, _ := n.AddHost(netlab.Public)
			from, err := src.ListenPacket(b.Context(), "udp4", netip.AddrPort{})
			if err != nil {
				b.Fatal(err)
			}
			to, err := dst.ListenPacket(b.Context(), "udp4", netip.AddrPortFrom(dst.PublicAddr(), 1))
			if err != nil {
				b.Fatal(err)
			}
			_ = to.SetReadDeadline(time.Now().Add(time.Minute))
			p, buf := make([]byte, 1200), make([]byte, 1500)
			inFlight := 0
			recv := func() {
				if _, _, err := to.ReadFrom(buf); err != nil {
					b.Fatal(err)
				}
				inFlight--
			}
			b.SetBytes(1200)
			for b.Loop() {
				if _, err := from.WriteTo(p, to.LocalAddr().(*net.UDPAddr)); err != nil {
					b.Fatal(err)
				}
				if inFlight++; inFlight == 256 {
					recv()
				}
			}
			for inFlight > 0 {
				recv()
			}
		})
	}
}
