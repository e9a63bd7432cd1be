// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"errors"
	"fmt"
	"net"
)

// Errors of an [Allocation].
var (
	// ErrClosed: Close was called. It is net.ErrClosed to errors.Is.
	ErrClosed = fmt.Errorf("turnx: allocation closed: %w", net.ErrClosed)
	// ErrNoPermission: the address was not named to Permit, or the server refused it.
	ErrNoPermission = errors.New("turnx: no permission for this peer")
	// ErrQueueFull: the packet was dropped because the writer is behind.
	ErrQueueFull = errors.New("turnx: send queue full")
	// ErrTooLarge: the packet exceeds [MaxPacket].
	ErrTooLarge = errors.New("turnx: packet too large")
	// ErrExpired: the server did not answer refreshes until the allocation's lifetime was over.
	ErrExpired = errors.New("turnx: allocation expired unrefreshed")
	// ErrBroken: the connection to the server failed.
	ErrBroken = errors.New("turnx: connection to the relay broken")
	// ErrTimeout: a request was not answered.
	ErrTimeout = errors.New("turnx: no answer from the relay")
)

// A CodeError is a refusal by the server (RFC 8656 §19, RFC 8489 §14.8): 401 wrong or expired credentials, 403
// forbidden peer, 437 no such allocation, 441 somebody else's allocation, 486 quota reached, 508 no capacity.
type CodeError struct {
	Op   string // "allocate", "refresh", "permission" or "channel"
	Code int
}

func (e *CodeError) Error() string { return fmt.Sprintf("turnx: %s refused with %d", e.Op, e.Code) }
