// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !pionnext

package turnx

import (
	"net"

	"github.com/pion/turn/v2"
)

// authHandler adapts ServerConfig.Key.
func (c *ServerConfig) authHandler() turn.AuthHandler {
	return func(user, realm string, from net.Addr) ([]byte, bool) { return c.Key(user, realm, addrPort(from)) }
}

func (g generator) AllocatePacketConn(_ string, port int) (net.PacketConn, net.Addr, error) {
	return g.packetConn(port)
}

func (generator) AllocateConn(string, int) (net.Conn, net.Addr, error) { return nil, nil, errTCP }
