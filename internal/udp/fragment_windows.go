// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import "golang.org/x/sys/windows"

// Socket options that package windows has no names for (ws2ipdef.h).
const (
	ipDontFragment = 14
	ipv6DontFrag   = 14
)

// dontFragment has every datagram leave with the don't-fragment bit.
func dontFragment(fd uintptr, v6 bool) {
	if v6 {
		_ = windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_IPV6, ipv6DontFrag, 1)
		return
	}
	_ = windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_IP, ipDontFragment, 1)
}
