// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
)

// BenchmarkConnect measures two agents from nothing to a selected pair and back to nothing, over loopback.
func BenchmarkConnect(b *testing.B) {
	var muxes [2]*icex.Mux
	var addrs [2]netip.AddrPort
	for i := range muxes {
		pc := listen(b, "127.0.0.1:0")
		defer pc.Close()
		addrs[i] = addrOf(pc)
		muxes[i] = icex.NewMux(func(p []byte, to netip.AddrPort) error {
			_, err := pc.WriteTo(p, net.UDPAddrFromAddrPort(to))
			return err
		}, func() []netip.AddrPort { return addrs[i : i+1] })
		go func() {
			buf := make([]byte, 1500)
			for {
				n, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				muxes[i].HandleSTUN(buf[:n], from.(*net.UDPAddr).AddrPort())
			}
		}()
	}
	b.ReportAllocs()
	for b.Loop() {
		selected := make(chan struct{}, 16)
		var agents [2]*icex.Agent
		for i := range agents {
			var err error
			agents[i], err = icex.NewAgent(&icex.Config{
				Mux: muxes[i], Controlling: i == 0,
				OnSelected: func(netip.AddrPort) { selected <- struct{}{} },
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		for i, a := range agents {
			if err := errors.Join(a.AddRemote(addrs[1-i], "host"), a.Start(agents[1-i].Credentials())); err != nil {
				b.Fatal(err)
			}
		}
		<-selected
		<-selected
		for _, a := range agents {
			if err := a.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
