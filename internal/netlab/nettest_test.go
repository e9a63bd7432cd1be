// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

// Streams behave as package net says that connections do.
func TestStreamIsConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		n, err := netlab.New(nil)
		if err != nil {
			return nil, nil, nil, err
		}
		a, err := n.AddHost(netlab.FullCone)
		if err != nil {
			return nil, nil, nil, err
		}
		b, err := n.AddHost(netlab.Public)
		if err != nil {
			return nil, nil, nil, err
		}
		ln, err := b.Listen(context.Background(), "tcp", netip.AddrPortFrom(b.PublicAddr(), tcpPort))
		if err != nil {
			return nil, nil, nil, err
		}
		if c1, err = a.DialContext(context.Background(), "tcp", ln.Addr().String()); err != nil {
			return nil, nil, nil, err
		}
		c2, err = ln.Accept()
		return c1, c2, func() { _ = n.Close() }, err
	})
}
