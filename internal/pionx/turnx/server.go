// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/pion/turn/v2"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// serverMTU is the library's read buffer: it drops what fills it, so one more than the largest frame of a stream.
const serverMTU = stunx.DefaultMaxFrame + 1

// ServerConfig makes a server out of four functions. The library calls them from the goroutine that reads Conn,
// strictly between two reads, so that whoever supplies Conn knows which packet a call belongs to. They must not block.
type ServerConfig struct {
	// Conn is one UDP socket, or one accepted stream ([NewStreamConn]): a stream per server is what makes an
	// allocation end with its connection. The server takes it over. An error of ReadFrom ends the server, so
	// temporary ones must be dealt with inside.
	Conn net.PacketConn
	// Realm of the long-term credentials. Short is good: it is part of every answer to strangers.
	Realm string
	// Key returns the long-term key of a user (stunx.LongTermKey), or false for an unknown one.
	Key func(user, realm string, from netip.AddrPort) ([]byte, bool)
	// Relay opens a relayed address and says what to advertise. The library closes the connection when the allocation
	// ends for whatever reason. port is always 0 unless the client asked for an even port.
	Relay func(port int) (net.PacketConn, netip.AddrPort, error)
	// Permit decides on a permission or channel.
	Permit func(from netip.AddrPort, peer netip.Addr) bool
	// Log gets sampled lines at debug level. nil discards.
	Log *slog.Logger
}

// A Server is the TURN protocol on one connection.
type Server struct {
	s    *turn.Server
	conn *saneConn
}

// NewServer starts serving c.Conn in the background.
func NewServer(c *ServerConfig) (*Server, error) {
	if c.Conn == nil || c.Key == nil || c.Relay == nil || c.Permit == nil {
		return nil, errors.New("turnx: server config incomplete")
	}
	conn := &saneConn{PacketConn: c.Conn}
	s, err := turn.NewServer(turn.ServerConfig{
		Realm:         c.Realm,
		LoggerFactory: libraryLog(c.Log),
		InboundMTU:    serverMTU,
		AuthHandler:   c.authHandler(),
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: generator{c.Relay},
			PermissionHandler: func(from net.Addr, peer net.IP) bool {
				ip, ok := netip.AddrFromSlice(peer)
				return ok && c.Permit(addrPort(from), ip)
			},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("turnx: %w", err)
	}
	return &Server{s: s, conn: conn}, nil
}

// Allocations returns the number of live allocations.
func (s *Server) Allocations() int { return s.s.AllocationCount() }

// Refused returns how many packets the sanity filter kept from the library.
func (s *Server) Refused() uint64 { return s.conn.refused.Load() }

// Close closes the connection; the library then closes the allocations in the background.
func (s *Server) Close() error {
	if err := s.s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("turnx: %w", err)
	}
	return nil
}

// saneConn keeps from the library whatever is neither a sane STUN message nor well-formed channel data.
type saneConn struct {
	net.PacketConn
	refused atomic.Uint64
}

func (c *saneConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || admissible(b[:n]) {
			return n, from, err
		}
		c.refused.Add(1)
	}
}

func admissible(b []byte) bool {
	if len(b) >= 4 && b[0]>>6 == 1 { // channel data
		return int(binary.BigEndian.Uint16(b[2:])) <= len(b)-4
	}
	return stunx.Sane(b)
}

var errTCP = errors.New("turnx: TCP relaying is not supported")

// generator adapts ServerConfig.Relay.
type generator struct {
	relay func(port int) (net.PacketConn, netip.AddrPort, error)
}

func (generator) Validate() error { return nil }

func (g generator) packetConn(port int) (net.PacketConn, net.Addr, error) {
	pc, addr, err := g.relay(port)
	if err != nil {
		return nil, nil, err
	}
	return pc, net.UDPAddrFromAddrPort(addr), nil
}
