// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// closeTimeout is how long a client has to take part in the close of its WebSocket.
const closeTimeout = 2 * time.Second

// A hijackTap notes the connection underneath a WebSocket, which the library does not give out.
type hijackTap struct {
	http.ResponseWriter
	c *conn
}

// Hijack implements [http.Hijacker].
func (t *hijackTap) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	t.c.net = nc
	return nc, rw, err
}

// closeWith closes the WebSocket with a code. The library waits for the client's half of the handshake and heeds neither
// deadline nor context while it reads the rest of a frame; so the connection is cut when it takes too long.
func (c *conn) closeWith(code websocket.StatusCode, reason string) {
	t := time.AfterFunc(closeTimeout, func() { _ = c.net.Close() })
	defer t.Stop()
	defer context.AfterFunc(c.ctx, func() { _ = c.net.Close() })()
	_ = c.ws.Close(code, reason)
}
