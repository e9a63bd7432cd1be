// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build pionnext

package turnx

import (
	"net"

	"github.com/pion/turn/v2"
)

// authHandler adapts ServerConfig.Key.
func (c *ServerConfig) authHandler() turn.AuthHandler {
	return func(r *turn.RequestAttributes) (string, []byte, bool) {
		key, ok := c.Key(r.Username, r.Realm, addrPort(r.SrcAddr))
		return r.Username, key, ok
	}
}

func (g generator) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	return g.packetConn(c.RequestedPort)
}

func (generator) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errTCP
}

func (generator) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errTCP }
