// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package udp

import "syscall"

// noFamily reports whether the host lacks an address family. With IPv6 switched off at run time Linux knows the family
// but has no address of it.
func noFamily(no syscall.Errno) bool {
	return no == syscall.EAFNOSUPPORT || no == syscall.EADDRNOTAVAIL
}

func temporary(no syscall.Errno) bool {
	switch no {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.EHOSTDOWN,
		syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ENETRESET, syscall.ETIMEDOUT, syscall.EMSGSIZE, syscall.EPROTO, syscall.ENOPROTOOPT,
		syscall.EINTR, syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM:
		return true
	}
	return false
}

// dead says so of what iOS and others answer when they have taken a socket away. None of it can come of a destination.
func dead(no syscall.Errno) bool {
	switch no {
	case syscall.EBADF, syscall.ENOTSOCK, syscall.ENOTCONN, syscall.EPIPE, syscall.ESHUTDOWN:
		return true
	}
	return false
}

func tooLong(no syscall.Errno) bool { return no == syscall.EMSGSIZE }

// unable reports whether a kernel that cannot cut a train or set a mark may have said so. EIO is what Linux says when
// the interface has no checksum offload, EINVAL when the traffic is transformed on its way (IPsec), and what old
// kernels say to everything they do not know.
func unable(no syscall.Errno) bool {
	switch no {
	case syscall.EIO, syscall.EINVAL, syscall.EMSGSIZE, syscall.EOPNOTSUPP, syscall.ENOPROTOOPT:
		return true
	}
	return false
}
