// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"fmt"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

var (
	errForeignAnswer = errors.New("flow: Options.Answers is a flow of another session")
	errForeignParent = errors.New("flow: After a message of another session")
	errManyParents   = fmt.Errorf("flow: After more than %d messages", maxParents)
	errWriterOver    = errors.New("flow: write after the end of the message")
)

var (
	// ErrWouldBlock is returned by [Sender.TrySend] when the flow's send buffer is full.
	ErrWouldBlock = errors.New("flow: send buffer full")

	// ErrClosed is returned by operations on an end of a flow that this side has already closed, aborted or rejected.
	ErrClosed = errors.New("flow: closed")

	// ErrTooLarge is returned for a message, label or metadata above its limit. Nothing was sent of it.
	ErrTooLarge = errors.New("flow: too large")

	// ErrAbandoned is matched by every error of [Receipt.Wait] that means the message was given up.
	ErrAbandoned = errors.New("flow: message abandoned")
)

// A RejectedError reports that the peer's [Receiver.Reject] refused a flow.
type RejectedError struct {
	// Code is the peer application's, or, from 0x4080 on, one with which the protocol itself refuses a flow: 0x4080
	// a message is too large for the peer, 0x4081 the flow asks for something the peer does not know, 0x4082 the
	// flow answers one that is not there, 0x4084 nobody takes flows of this kind, or too many wait.
	Code uint64
}

// Error names the code.
func (e *RejectedError) Error() string {
	return "flow: rejected by the peer with " + codeText(e.Code)
}

// An AbortedError reports that the peer's [Sender.Abort] ended a flow. Code is the peer application's, or 0x4083 if a
// message that was being written broke off; see [MessageWriter].
type AbortedError struct{ Code uint64 }

// Error names the code.
func (e *AbortedError) Error() string {
	return "flow: aborted by the peer with " + codeText(e.Code)
}

// codeText describes a code: an application's is a number, the protocol's have names.
func codeText(code uint64) string {
	if c := wire.Code(code); c >= wire.CodeProtocolFirst && c <= wire.CodeProtocolLast {
		return fmt.Sprintf("code %#x, %v", code, c)
	}
	return fmt.Sprintf("code %d", code)
}
