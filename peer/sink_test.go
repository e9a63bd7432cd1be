// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// A sinkNetwork has one socket, which receives what a test delivers and counts what is written to it.
type sinkNetwork struct {
	once     sync.Once
	in       chan sinkPacket
	closed   chan struct{}
	read     atomic.Int64
	written  atomic.Int64
	bytesIn  atomic.Int64
	bytesOut atomic.Int64
	onWrite  func(b []byte) // may be nil
}

type sinkPacket struct {
	b    []byte
	from netip.AddrPort
}

func (n *sinkNetwork) init() {
	n.once.Do(func() {
		n.in, n.closed = make(chan sinkPacket), make(chan struct{})
	})
}

// deliver hands over a copy of a packet and waits until the reader has taken it.
func (n *sinkNetwork) deliver(b []byte, from netip.AddrPort) {
	n.init()
	n.in <- sinkPacket{bytes.Clone(b), from}
}

func (n *sinkNetwork) ListenPacket(_ context.Context, network string, _ netip.AddrPort) (net.PacketConn, error) {
	n.init()
	if network != "udp4" {
		return nil, errors.ErrUnsupported
	}
	return (*sinkConn)(n), nil
}

func (n *sinkNetwork) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

func (n *sinkNetwork) LocalAddrs() ([]netip.Addr, error) { return nil, nil }

type sinkConn sinkNetwork

func (c *sinkConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		c.read.Add(1)
		c.bytesIn.Add(int64(len(p.b)))
		return copy(b, p.b), net.UDPAddrFromAddrPort(p.from), nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *sinkConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.written.Add(1)
	c.bytesOut.Add(int64(len(b)))
	if c.onWrite != nil {
		c.onWrite(b)
	}
	return len(b), nil
}

func (c *sinkConn) Close() error {
	close(c.closed)
	return nil
}

func (c *sinkConn) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort("5.0.0.1:1"))
}
func (c *sinkConn) SetDeadline(time.Time) error      { return nil }
func (c *sinkConn) SetReadDeadline(time.Time) error  { return nil }
func (c *sinkConn) SetWriteDeadline(time.Time) error { return nil }

// tagInit makes b, whose random part is filled, an Init packet of somebody who knows the ID (docs/PROTOCOL.md §6).
func tagInit(b []byte, id peer.ID) {
	h := sha256.New()
	h.Write([]byte("runnel init v1\x00"))
	h.Write(id[:])
	h.Write(b[2:18])
	copy(b[18:34], h.Sum(nil))
}
