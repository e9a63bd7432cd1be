// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
)

var (
	// ErrTruncated reports input that ends before the thing it announces.
	ErrTruncated = errors.New("wire: truncated")

	// ErrMalformed reports input that is complete but breaks a rule of its format.
	ErrMalformed = errors.New("wire: malformed")
)

// A Code says why a session was closed by the protocol itself. It travels in the code field of CLOSE.
//
// Codes from 0x4000 to 0x40ff belong to the protocol; everything below is the application's.
type Code uint64

// The protocol's close codes. docs/PROTOCOL.md lists them with what a user can do about each.
const (
	// CodeProtocol is a violation that has no code of its own: an unknown critical chunk, a malformed body.
	CodeProtocol Code = 0x4000 + iota
	// CodeFlowControl means the peer sent more than the receive window allowed.
	CodeFlowControl
	// CodeFlowLimit means the peer opened more flows than allowed.
	CodeFlowLimit
	// CodeFlowState means a chunk contradicts what was said earlier about a flow: data past its end, a changed end.
	CodeFlowState
	// CodeAck means an acknowledgement of a packet that was never sent.
	CodeAck
)

// Codes with which the protocol itself rejects or aborts a flow; the session goes on. They share the range above.
const (
	// CodeFlowMessageSize means a message exceeds the largest the receiver takes.
	CodeFlowMessageSize Code = 0x4080 + iota
	// CodeFlowOption means the flow asks for something critical that the receiver does not know.
	CodeFlowOption
	// CodeFlowAnswer means the flow answers a flow that is not there, or that takes no answers.
	CodeFlowAnswer
	// CodeFlowCutOff means the sender could not finish a message of which it had sent parts.
	CodeFlowCutOff
	// CodeFlowRefused means that nobody takes flows of this kind, or that too many wait: the flow is not answered.
	CodeFlowRefused
)

// CodeProtocolFirst and CodeProtocolLast bound the range of codes that belong to the protocol.
const (
	CodeProtocolFirst Code = 0x4000
	CodeProtocolLast  Code = 0x40ff
)

// String returns the name docs/PROTOCOL.md uses for the code.
func (c Code) String() string {
	switch c {
	case CodeProtocol:
		return "protocol violation"
	case CodeFlowControl:
		return "flow control violated"
	case CodeFlowLimit:
		return "too many flows"
	case CodeFlowState:
		return "flow state violated"
	case CodeAck:
		return "acknowledgement of an unsent packet"
	case CodeFlowMessageSize:
		return "message too large"
	case CodeFlowOption:
		return "unknown critical flow option"
	case CodeFlowAnswer:
		return "answers no open flow"
	case CodeFlowCutOff:
		return "message cut off"
	case CodeFlowRefused:
		return "flow not wanted"
	}
	return fmt.Sprintf("code %#x", uint64(c))
}

// A ProtocolError reports that the peer broke the protocol. It is fatal to the session, which closes with Code.
type ProtocolError struct {
	Code   Code
	Reason string // what was wrong, for a log or a CLOSE; short, constant text
	Err    error  // the cause, or nil
}

// Error describes the violation.
func (e *ProtocolError) Error() string {
	s := "wire: " + e.Code.String() + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause, which is often [ErrTruncated] or [ErrMalformed].
func (e *ProtocolError) Unwrap() error { return e.Err }
