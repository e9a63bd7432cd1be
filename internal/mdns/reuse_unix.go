// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !solaris && !aix

package mdns

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// reuse lets other programs of the host have the port too (RFC 6762 §15).
func reuse(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) // BSDs share by this one
	}); e != nil {
		return e
	}
	return err
}
