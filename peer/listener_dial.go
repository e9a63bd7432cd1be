// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A Dialer opens streams under one label to peers that are named by text, as programs that know nothing of peers want
// it: a peer's ID takes the place of a host name.
type Dialer struct {
	e     *Endpoint
	label string
}

// Dialer returns a dialler of streams under a label, which the peers have a [Listener] for.
func (e *Endpoint) Dialer(label string) *Dialer { return &Dialer{e: e, label: label} }

// DialContext opens a stream to the peer whose ID is address, on the session that exists or a new one. A port after
// the ID is ignored, and so is the network, so that DialContext can be the field of that name of an
// [net/http.Transport]: the URL http://ID/path is then a path at the peer. ctx bounds the wait.
//
// A session that has to be established is, through the rendezvous; it lives on when the stream is closed.
func (d *Dialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return d.Dial(ctx, address)
}

// Dial is DialContext without a network, as gRPC's WithContextDialer wants it.
func (d *Dialer) Dial(ctx context.Context, address string) (net.Conn, error) {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	id, err := signaling.ParsePeerID(host)
	if err != nil {
		return nil, d.opError(nil, fmt.Errorf("%q is not the ID of a peer: %w", host, err))
	}
	for {
		s, err := d.e.Dial(ctx, id)
		if err != nil {
			return nil, d.opError(Addr{id}, err)
		}
		st, err := s.OpenStream(d.label)
		if err == nil {
			return st, nil
		}
		if _, over := errors.AsType[*CloseError](err); !over {
			return nil, d.opError(Addr{id}, err)
		}
		select { // it has ended this moment: dial another
		case <-s.Done():
		case <-ctx.Done():
			return nil, d.opError(Addr{id}, ctx.Err())
		}
	}
}

func (d *Dialer) opError(to net.Addr, err error) error {
	return &net.OpError{Op: "dial", Net: network, Source: Addr{d.e.id}, Addr: to, Err: err}
}
