// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix && !windows

package udp

import "syscall"

// noFamily reports whether the host lacks an address family.
func noFamily(no syscall.Errno) bool {
	return no == syscall.EAFNOSUPPORT || no == syscall.EADDRNOTAVAIL
}

func temporary(no syscall.Errno) bool { return no.Temporary() }
