// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// MaxPayload is the largest payload of an envelope, in bytes.
const MaxPayload = rvproto.MaxPayload

// A Signaler introduces peers: it carries small sealed messages between peers that have no connection yet. [Client]
// does it through a rendezvous server, [Hub] in memory.
//
// It does its best and promises nothing: an envelope may be lost after Send has returned nil (the peer's connection
// breaks for good, its process ends), may arrive twice, and may overtake another. Peers recover by asking again; see
// [ReplayGuard] for the second. It does not vouch for who sent an envelope either: [Open] does.
//
// All methods may be called by several goroutines at once. ctx bounds the wait, nothing else.
type Signaler interface {
	// Send hands payload, of at most [MaxPayload] bytes, to the connection of the peer and waits for the verdict. nil means
	// that it was handed over. [ErrNotFound], after one round trip, means that the peer is unknown, offline or unwilling:
	// which of them is not told to anybody. [ErrRateLimited] and [ErrBusy] mean that it may be sent later.
	//
	// While there is no connection to the server, Send waits for one. When ctx ends, the envelope may have been sent or not.
	// Send does not keep payload.
	Send(ctx context.Context, to PeerID, payload []byte) error

	// Recv returns the next envelope for this peer and waits until there is one. The envelope is the caller's. Envelopes
	// that are not received in time are dropped, newest first, and counted: there should always be a Recv under way.
	Recv(ctx context.Context) (Envelope, error)

	// Services returns what is known about relays and the like, and waits until something is. The answer changes over time:
	// ask again when its credentials have expired.
	Services(ctx context.Context) (Services, error)

	// Close leaves. The peer cannot be found from then on, blocked calls return an error that matches [ErrClosed], and so do
	// later ones. It waits until everything that belongs to the Signaler has ended.
	Close() error
}

// An Envelope is a payload on its way between peers.
type Envelope struct {
	// From is who sent the envelope as far as the signaling plane knows. It is a hint: only [Open] proves it.
	From, To PeerID
	Payload  []byte
}

// Services are what a signaling plane knows besides peers.
type Services struct {
	STUN   []string // servers as host:port
	Relays []Relay

	// Expires is when the credentials of the relays end, by the local clock. A new answer is there well before. The zero
	// time means never.
	Expires time.Time

	// Observed is the address this peer comes from as the server sees it, which is the outside of the NAT most often. It is
	// invalid when unknown.
	Observed netip.Addr
}

// clone returns a copy that shares no memory with s.
func (s Services) clone() Services {
	s.STUN, s.Relays = slices.Clone(s.STUN), slices.Clone(s.Relays)
	return s
}

// Errors of a [Signaler]. Any of them may come wrapped.
var (
	// ErrNotFound: the peer is not there, or does not want to be found.
	ErrNotFound = errors.New("signaling: peer not found")

	// ErrRateLimited: too many envelopes in too short a time, in all or to this peer.
	ErrRateLimited = errors.New("signaling: rate limited")

	// ErrBusy: the peer is there but does not take envelopes fast enough.
	ErrBusy = errors.New("signaling: peer is busy")

	// ErrTooLarge: the payload exceeds [MaxPayload].
	ErrTooLarge = errors.New("signaling: payload too large")

	// ErrReplaced: another process registered with the same key after this one. The older one must not fight back, so the
	// Signaler is of no use from then on. It matches [ErrClosed] too.
	ErrReplaced error = replacedError{}

	// ErrClosed: the Signaler was closed. It matches [net.ErrClosed].
	ErrClosed error = closedError{}
)

type closedError struct{}

func (closedError) Error() string { return "signaling: closed" }
func (closedError) Unwrap() error { return net.ErrClosed }

type replacedError struct{}

func (replacedError) Error() string {
	return "signaling: replaced by another registration of the same key"
}
func (replacedError) Unwrap() error { return ErrClosed }
