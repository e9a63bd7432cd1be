// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import "fmt"

// A Reason says why a message was abandoned.
type Reason uint8

// Reasons.
const (
	NotAbandoned    Reason = iota // it was delivered, or its fate is open
	StartDeadline                 // nothing of it had been sent when StartWithin was over
	FinishDeadline                // it had not been acknowledged when FinishWithin was over
	TransmitLimit                 // some of it was lost as often as Transmits allows
	ParentAbandoned               // a message was abandoned that it was sent After
	Superseded                    // a newer message with the same Supersede key took its place
	Withdrawn                     // Receipt.Abandon
	FlowAborted                   // this side aborted the flow
	FlowRejected                  // the peer refused the flow
	SessionOver                   // the session ended

	reasons = int(SessionOver) + 1
)

var reasonNames = [reasons]string{
	"NotAbandoned", "StartDeadline", "FinishDeadline", "TransmitLimit", "ParentAbandoned", "Superseded", "Withdrawn",
	"FlowAborted", "FlowRejected", "SessionOver",
}

// String returns the name of the reason.
func (r Reason) String() string {
	if int(r) >= reasons {
		return fmt.Sprintf("Reason(%d)", uint8(r))
	}
	return reasonNames[r]
}

// An AbandonedError says that a message was given up and why. It matches [ErrAbandoned], and an &AbandonedError that
// has the same Reason and no Cause; it unwraps to Cause.
type AbandonedError struct {
	Reason Reason

	// Cause is a *RejectedError for FlowRejected, ErrClosed or ErrTooLarge (the peer does not take messages of that
	// size) for FlowAborted, the error that ended the session for SessionOver, and nil for the other reasons.
	Cause error
}

// Error names the reason and the cause.
func (e *AbandonedError) Error() string {
	if e.Cause == nil {
		return "flow: message abandoned: " + e.Reason.String()
	}
	return fmt.Sprintf("flow: message abandoned: %v: %v", e.Reason, e.Cause)
}

// Unwrap returns Cause.
func (e *AbandonedError) Unwrap() error { return e.Cause }

// Is reports whether target is [ErrAbandoned] or asks for this reason.
func (e *AbandonedError) Is(target error) bool {
	if target == ErrAbandoned {
		return true
	}
	t, ok := target.(*AbandonedError)
	return ok && t.Cause == nil && t.Reason == e.Reason
}
