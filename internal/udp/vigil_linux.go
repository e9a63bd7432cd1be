// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// readable says whether there is something to read from a socket, be it an error. The runtime is not told of the system
// call, which does not block: that would cost as much as the call.
func readable(fd uintptr) bool {
	_, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, 0, 0, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return errno != unix.EAGAIN && errno != unix.EINTR
}
