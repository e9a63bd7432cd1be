// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex_test

import (
	"fmt"
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
)

// Two agents in one process, whose network is a function call.
func Example() {
	addrs := [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")}
	var muxes [2]*icex.Mux
	for i := range muxes {
		muxes[i] = icex.NewMux(func(b []byte, to netip.AddrPort) error {
			if to == addrs[1-i] {
				muxes[1-i].HandleSTUN(b, addrs[i])
			}
			return nil
		}, func() []netip.AddrPort { return addrs[i : i+1] })
		defer muxes[i].Close()
	}
	found := make(chan netip.AddrPort, 1)
	offerer, _ := icex.NewAgent(&icex.Config{
		Mux: muxes[0], Controlling: true,
		OnSelected: func(remote netip.AddrPort) { found <- remote },
	})
	answerer, _ := icex.NewAgent(&icex.Config{Mux: muxes[1]})

	// Signaling carries credentials and candidates both ways.
	_ = offerer.AddRemote(addrs[1], "host")
	_ = answerer.AddRemote(addrs[0], "host")
	_ = offerer.Start(answerer.Credentials())
	_ = answerer.Start(offerer.Credentials())
	fmt.Println("the peer is at", <-found)
	// Output: the peer is at 192.0.2.2:2
}
