// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build windows

package mdns

import "syscall"

// reuse lets other programs of the host have the port too (RFC 6762 §15).
func reuse(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}); e != nil {
		return e
	}
	return err
}
