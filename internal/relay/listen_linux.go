// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func reusePort(c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); e != nil {
		return e
	}
	return err
}
