// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"fmt"
	"net"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// Conditions that a program may want to branch on. A failed [Endpoint.Dial] returns them wrapped in a [*DialError].
var (
	// ErrNotFound says that the rendezvous does not know the peer, or that the peer is not connected to it.
	ErrNotFound = signaling.ErrNotFound

	// ErrRefused says that the peer, or its operator's policy, does not want to talk to us.
	ErrRefused = errors.New("peer: refused by peer")

	// ErrIdentity says that the other end could not prove that it holds the key of the peer that was dialled.
	// Nothing an application sent has reached it.
	ErrIdentity = errors.New("peer: identity not proven")

	// ErrUnreachable says that no path to the peer carried packets both ways in time.
	ErrUnreachable = errors.New("peer: no path to peer")

	// ErrAddressPolicy says that a peer was dialled by addresses to which [Config.Addresses] lets no packet go.
	ErrAddressPolicy = errors.New("peer: the address policy forbids to dial this peer's addresses")

	// ErrSuperseded says that the peer no longer has this session: it has started a newer one in its place, has been
	// restarted, or gave the session up while it could not reach this side. Dialling it again starts another.
	ErrSuperseded = errors.New("peer: session superseded by a newer one")

	// ErrIdle says that nothing was heard from the peer for [Config.Linger].
	ErrIdle = errors.New("peer: peer has gone silent")

	// ErrNoSignaler says that a peer was dialled by its ID alone on an endpoint without a [Config.Signaler].
	ErrNoSignaler = errors.New("peer: no signaler and no address to dial")

	// ErrNoAnswer says that the peer did not answer in time.
	ErrNoAnswer = errors.New("peer: no answer from peer")
)

// A Code says why a session ended. Codes below 1000, and those from 0x4000 to 0x40ff, belong to this package;
// applications use 1000–1999 for ordinary endings and 2000–2999 for exceptional ones.
type Code uint64

// The codes of this package.
const (
	CodeClosed     Code = 1  // orderly close
	CodeShutdown   Code = 2  // the endpoint was closed
	CodeIdle       Code = 3  // nothing heard for Config.Linger
	CodeSuperseded Code = 4  // a newer session took its place
	CodeIdentity   Code = 5  // identity not proven
	CodeRefused    Code = 7  // not authorised
	CodeTimeout    Code = 8  // establishment took too long
	CodeCanceled   Code = 9  // the dialler gave up
	CodeExhausted  Code = 10 // packet protection reached its limits
	CodeForgotten  Code = 11 // the peer does not have the session any more
)

// String returns a name for the codes of this package and the number of others.
func (c Code) String() string {
	switch c {
	case CodeClosed:
		return "closed"
	case CodeShutdown:
		return "endpoint closed"
	case CodeIdle:
		return "idle"
	case CodeSuperseded:
		return "superseded"
	case CodeIdentity:
		return "identity not proven"
	case CodeRefused:
		return "refused"
	case CodeTimeout:
		return "timeout"
	case CodeCanceled:
		return "cancelled"
	case CodeExhausted:
		return "keys exhausted"
	case CodeForgotten:
		return "forgotten"
	default:
		if c >= Code(wire.CodeProtocolFirst) && c <= Code(wire.CodeProtocolLast) {
			return wire.Code(c).String()
		}
		return fmt.Sprintf("code %d", uint64(c))
	}
}

// CodeProtocol says that the other end violated the protocol. Codes above it, up to 0x40ff, say so and how
// (docs/PROTOCOL.md §9).
const CodeProtocol = Code(wire.CodeProtocol)

// A CloseError is why a session ended. errors.Is(err, [net.ErrClosed]) holds for every CloseError, and
// [ErrSuperseded], [ErrIdle], [ErrIdentity] and [ErrRefused] match by code.
type CloseError struct {
	Code   Code
	Reason string // for humans; at most 256 bytes arrive
	Remote bool   // the peer closed
}

func (e *CloseError) Error() string {
	by := "by us"
	if e.Remote {
		by = "by peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("peer: session closed %s: %v", by, e.Code)
	}
	return fmt.Sprintf("peer: session closed %s: %v: %s", by, e.Code, e.Reason)
}

// Unwrap makes errors.Is(err, net.ErrClosed) true.
func (e *CloseError) Unwrap() error { return net.ErrClosed }

// Is matches the sentinel that belongs to the code.
func (e *CloseError) Is(target error) bool {
	switch e.Code {
	case CodeSuperseded, CodeForgotten:
		return target == ErrSuperseded
	case CodeIdle:
		return target == ErrIdle
	case CodeIdentity:
		return target == ErrIdentity
	case CodeRefused:
		return target == ErrRefused
	default:
		return false
	}
}

// A Stage is a step of session establishment.
type Stage string

// The stages, in order.
const (
	StageSignaling Stage = "signaling" // the offer has not reached the peer, or no answer came
	StagePath      Stage = "path"      // answered, but no path has carried a packet both ways
	StageHandshake Stage = "handshake" // a path works; keys are being agreed
	StageIdentity  Stage = "identity"  // keys are agreed; the peer has yet to prove who it is
	StageReady     Stage = "ready"     // established
)

// A DialError says at which stage establishing a session failed, and why.
type DialError struct {
	ID    ID
	Stage Stage
	Err   error

	// Explanation says what was tried and what would help. It is nil if there was nothing to try.
	Explanation *Explanation
}

func (e *DialError) Error() string {
	return fmt.Sprintf("peer: dial %s: %s: %v", e.ID.Short(), e.Stage, e.Err)
}

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }
