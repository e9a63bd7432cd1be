// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package udp

import "syscall"

// noBroadcast has the system refuse to send to a broadcast address, which package net lets a socket do: peers name the
// addresses that are sent to, and no prefix shows which of them means every host of a network.
func noBroadcast(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_BROADCAST, 0)
}
