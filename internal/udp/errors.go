// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"errors"
	"syscall"
)

// Temporary reports whether a socket can be used further after err. Systems report on a later call what an ICMP
// message said about an earlier datagram (connection refused, no route), that a datagram was longer than the buffer
// (Windows), or that memory is short for the moment. None of this ends a read loop.
//
// A closed socket and a passed deadline are not temporary, nor is anything unknown. A loop should still give up
// after very many temporary errors in a row without a datagram between them.
func Temporary(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && temporary(no)
}

// Dead reports whether the system says by err, of sending, that there is no socket any more. Mobile systems take sockets
// away from an app that sleeps; the reader may not be told.
func Dead(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && dead(no)
}
