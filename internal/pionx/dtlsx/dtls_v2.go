// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !pionnext

package dtlsx

import (
	"context"

	"github.com/pion/dtls/v2"
)

// connect runs the library's handshake over p. After an error nothing of the library runs any more.
func connect(ctx context.Context, p *pipe, client bool, c *dtls.Config) (*dtls.Conn, error) {
	if client {
		return dtls.ClientWithContext(ctx, p, c)
	}
	return dtls.ServerWithContext(ctx, p, c)
}

// stateOf returns what a completed handshake has come to.
func stateOf(c *dtls.Conn) *dtls.State {
	s := c.ConnectionState()
	return &s
}
