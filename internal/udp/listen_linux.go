// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"net"
	"syscall"
)

// raiseBuffers raises the socket buffers beyond net.core.rmem_max and wmem_max if we have CAP_NET_ADMIN, and up to
// them otherwise. socket(7): SO_RCVBUFFORCE.
func raiseBuffers(c *net.UDPConn) {
	growBuffers(c)
	rc, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, socketBuffer)
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUFFORCE, socketBuffer)
	})
}
