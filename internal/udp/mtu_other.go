// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package udp

import (
	"net"
	"net/netip"
)

// routeMTU returns the MTU of the loopback interface for an address of this host, else the largest of any interface
// that is up, or zero.
func routeMTU(to netip.Addr) int {
	ifaces, err := net.Interfaces()
	if err != nil {
		return 0
	}
	mtu := 0
	for _, i := range ifaces {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback != 0 == to.IsLoopback() {
			mtu = max(mtu, i.MTU)
		}
	}
	return mtu
}
