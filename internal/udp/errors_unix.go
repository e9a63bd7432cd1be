// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package udp

import "syscall"

func temporary(no syscall.Errno) bool {
	switch no {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.EHOSTDOWN,
		syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EMSGSIZE, syscall.EPROTO, syscall.ENOPROTOOPT,
		syscall.EINTR, syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM:
		return true
	}
	return false
}
