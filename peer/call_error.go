// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// A CallCode says why a call failed. Codes below 1000 belong to this package; applications use those from 1000 on in
// [Errorf].
type CallCode uint64

// The codes of this package.
const (
	CallNotFound     CallCode = 1 // the peer has no handler for the method
	CallUnavailable  CallCode = 2 // the peer has too much to do
	CallDeadline     CallCode = 3 // the context's deadline has passed
	CallCanceled     CallCode = 4 // the context was cancelled, or the stream closed
	CallInternal     CallCode = 5 // the handler panicked, or the peer does not keep to the protocol
	CallTooLarge     CallCode = 6 // the request or the response exceeds a limit
	CallFailed       CallCode = 7 // the handler returned an error without a code
	CallDisconnected CallCode = 8 // the session ended, or could not be established
)

// String returns a name for the codes of this package and the number of others.
func (c CallCode) String() string {
	switch c {
	case CallNotFound:
		return "no such method"
	case CallUnavailable:
		return "unavailable"
	case CallDeadline:
		return "deadline exceeded"
	case CallCanceled:
		return "cancelled"
	case CallInternal:
		return "internal error"
	case CallTooLarge:
		return "too large"
	case CallFailed:
		return "failed"
	case CallDisconnected:
		return "disconnected"
	default:
		return fmt.Sprintf("code %d", uint64(c))
	}
}

// A CallError is why a call failed. [context.DeadlineExceeded], [os.ErrDeadlineExceeded] and [context.Canceled] match
// by code, whichever side gave up.
type CallError struct {
	Method  string
	Code    CallCode
	Message string // the peer's, for humans; at most 400 bytes arrive

	// MayHaveRun says whether the handler may have been started. If not, making the call again cannot do anything
	// twice. If so, nothing is known of how far the handler came, unless it has returned the error itself.
	MayHaveRun bool

	// Err is the cause if it is on this side: why the session ended, a [*DialError], the context's error.
	Err error
}

func (e *CallError) Error() string {
	text := fmt.Sprintf("peer: call %q: %v", e.Method, e.Code)
	switch {
	case e.Message != "":
		return text + ": " + e.Message
	case e.Err != nil:
		return text + ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *CallError) Unwrap() error { return e.Err }

// Timeout reports whether the call took too long, as [net.Error] has it.
func (e *CallError) Timeout() bool { return e.Code == CallDeadline }

// Is matches the errors that other packages have for a code.
func (e *CallError) Is(target error) bool {
	switch e.Code {
	case CallDeadline:
		return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
	case CallCanceled:
		return target == context.Canceled
	default:
		return false
	}
}

// A HandlerError is an error that a handler returns to its caller, who gets a [*CallError] with its code and message.
type HandlerError struct {
	Code    CallCode // zero means CallFailed
	Message string   // for humans; at most 400 bytes arrive
}

// Errorf returns a [*HandlerError], for a handler to return. Applications choose codes from 1000 on.
func Errorf(code CallCode, format string, args ...any) error {
	return &HandlerError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *HandlerError) Error() string { return fmt.Sprintf("%v: %s", e.Code, e.Message) }

// statusOf is what the caller is told of an error that a handler has returned.
func statusOf(err error) callStatus {
	st := callStatus{ran: true}
	if err == nil {
		return callStatus{}
	}
	var he *HandlerError
	switch {
	case errors.As(err, &he):
		st.code, st.text = he.Code, he.Message
	case errors.Is(err, context.DeadlineExceeded):
		st.code = CallDeadline
	case errors.Is(err, context.Canceled):
		st.code = CallCanceled
	default:
		st.text = err.Error()
	}
	if st.code == 0 {
		st.code = CallFailed
	}
	return st
}
