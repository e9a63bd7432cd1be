// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"net"
	"net/netip"

	"github.com/xtaci/kcp-go/v5"
)

var kcpFast = &Transport{
	Name:   "kcp-go",
	Stream: true,
	About: "AES-128 in its CFB mode (it has no GCM), a key known beforehand, no FEC; NoDelay(1, 10, 2, 1), which is its " +
		"fastest setting and has no congestion control, windows of 1024 packets, no write delay, ACKs at once, stream " +
		"mode; a connection for each channel",
	Module: "github.com/xtaci/kcp-go/v5",
	Listen: func(_ context.Context, env Env) (Listener, error) {
		block, err := kcp.NewAESBlockCrypt(make([]byte, 16))
		if err != nil {
			return nil, err
		}
		l, err := kcp.ListenWithOptions(netip.AddrPortFrom(env.Local, 0).String(), block, 0, 0)
		if err != nil {
			return nil, err
		}
		_ = l.SetReadBuffer(kcpSocketBuffer) // advice; the system has limits
		_ = l.SetWriteBuffer(kcpSocketBuffer)
		return kcpListener{l}, env.Signal.Send([]byte(l.Addr().String()))
	},
	NewDialer: func(ctx context.Context, env Env) (Dialer, error) {
		to, err := env.Signal.Recv(ctx)
		if err != nil {
			return nil, err
		}
		return kcpDialer{string(to), env.Local}, nil
	},
}

const kcpSocketBuffer = 4 << 20

func kcpTune(s *kcp.UDPSession) *kcp.UDPSession {
	s.SetNoDelay(1, 10, 2, 1)
	s.SetWindowSize(1024, 1024)
	s.SetStreamMode(true) //nolint:staticcheck // deprecated without a replacement, and what kcptun does
	s.SetWriteDelay(false)
	s.SetACKNoDelay(true)
	return s
}

type kcpListener struct{ l *kcp.Listener }

// Accept does nothing: a connection becomes visible when its first channel sends something.
func (l kcpListener) Accept(context.Context) (Conn, error) {
	return &kcpConn{listener: l.l, waiting: map[Kind]net.Conn{}}, nil
}
func (l kcpListener) Close() error { return l.l.Close() }

type kcpDialer struct {
	to    string
	local netip.Addr
}

func (d kcpDialer) Dial(context.Context) (Conn, error) { return &kcpConn{dialer: &d}, nil }
func (d kcpDialer) Close() error                       { return nil }

// A kcpConn is a connection for each channel.
type kcpConn struct {
	listener *kcp.Listener
	dialer   *kcpDialer
	open     []net.Conn
	waiting  map[Kind]net.Conn // accepted, and wanted later
}

func (c *kcpConn) Open(_ context.Context, k Kind) (Channel, error) {
	block, err := kcp.NewAESBlockCrypt(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	s, err := kcp.DialWithOptions(c.dialer.to, block, 0, 0)
	if err != nil {
		return nil, err
	}
	_ = s.SetReadBuffer(kcpSocketBuffer)
	_ = s.SetWriteBuffer(kcpSocketBuffer)
	c.open = append(c.open, kcpTune(s))
	return newStreamChannel(s, k), hello(s, k)
}

// Accept takes connections as they come: one whose first packet is lost comes after one that was dialled later.
func (c *kcpConn) Accept(_ context.Context, k Kind) (Channel, error) {
	for c.waiting[k] == nil {
		s, err := c.listener.AcceptKCP()
		if err != nil {
			return nil, err
		}
		c.open = append(c.open, kcpTune(s))
		got, err := greeting(s)
		if err != nil {
			return nil, err
		}
		c.waiting[got] = s
	}
	s := c.waiting[k]
	delete(c.waiting, k)
	return newStreamChannel(s, k), nil
}

func (c *kcpConn) Close() error {
	for _, s := range c.open {
		_ = s.Close()
	}
	return nil
}
