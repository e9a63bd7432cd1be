// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build pionnext

package dtlsx

import (
	"context"

	"github.com/pion/dtls/v2"
	dtlsnet "github.com/pion/dtls/v2/pkg/net"
)

// connect runs the library's handshake over p. After an error nothing of the library runs any more.
func connect(ctx context.Context, p *pipe, client bool, c *dtls.Config) (*dtls.Conn, error) {
	start := dtls.Server
	if client {
		start = dtls.Client
	}
	c.DisableRetransmitBackoff = true // the interval is fixed, see doc.go
	conn, err := start(dtlsnet.PacketConnFromConn(p), p.RemoteAddr(), c)
	if err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}

// stateOf returns what a completed handshake has come to. Should the library not tell, it is empty: without a
// certificate, that is, which no pin accepts.
func stateOf(c *dtls.Conn) *dtls.State {
	s, _ := c.ConnectionState()
	return &s
}
