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

func dead(no syscall.Errno) bool { return no == syscall.EBADF }

func tooLong(no syscall.Errno) bool { return no == syscall.EMSGSIZE }

// unable reports whether the system refused what was asked of it besides sending, which here is nothing.
func unable(syscall.Errno) bool { return false }
