// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import "golang.org/x/sys/windows"

// noBroadcast has the system refuse to send to a broadcast address, which package net lets a socket do: peers name the
// addresses that are sent to, and no prefix shows which of them means every host of a network.
func noBroadcast(fd uintptr) {
	_ = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_BROADCAST, 0)
}
