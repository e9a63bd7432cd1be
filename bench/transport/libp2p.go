// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	p2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
)

var libp2pQUIC = &Transport{
	Name: "libp2p",
	Idle: true, Stream: true,
	About: "hosts with the quic-v1 transport alone, no relay, no metrics, defaults otherwise; " +
		"a stream, with a protocol ID of its own, for each channel",
	Module: "github.com/libp2p/go-libp2p",
	Listen: func(_ context.Context, env Env) (Listener, error) {
		h, err := libp2pHost(env)
		if err != nil {
			return nil, err
		}
		l := &libp2pListener{h: h, conns: make(chan p2ppeer.ID, 4096), streams: map[Kind]chan network.Stream{}}
		for k := Bulk; k < kinds; k++ {
			ch := make(chan network.Stream, 16)
			l.streams[k] = ch
			h.SetStreamHandler(libp2pProtocol(k), func(s network.Stream) { ch <- s })
		}
		h.Network().Notify(&network.NotifyBundle{
			ConnectedF: func(_ network.Network, c network.Conn) { l.conns <- c.RemotePeer() },
		})
		b, err := json.Marshal(p2ppeer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
		if err != nil {
			return nil, err
		}
		return l, env.Signal.Send(b)
	},
	NewDialer: func(ctx context.Context, env Env) (Dialer, error) {
		b, err := env.Signal.Recv(ctx)
		if err != nil {
			return nil, err
		}
		d := &libp2pDialer{env: env}
		return d, json.Unmarshal(b, &d.to)
	},
}

func libp2pProtocol(k Kind) protocol.ID { return protocol.ID("/runnel-bench/" + k.String()) }

func libp2pHost(env Env) (host.Host, error) {
	return libp2p.New(
		libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/%v/udp/0/quic-v1", env.Local)),
		libp2p.NoTransports, libp2p.Transport(libp2pquic.NewTransport),
		libp2p.DisableRelay(), libp2p.DisableMetrics(),
	)
}

type libp2pListener struct {
	h       host.Host
	conns   chan p2ppeer.ID
	streams map[Kind]chan network.Stream
}

func (l *libp2pListener) Accept(ctx context.Context) (Conn, error) {
	select {
	case id := <-l.conns:
		return &libp2pConn{h: l.h, to: id, streams: l.streams}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *libp2pListener) Close() error { return l.h.Close() }

// A libp2pDialer has a host for each connection: two hosts share theirs.
type libp2pDialer struct {
	env Env
	to  p2ppeer.AddrInfo
}

func (d *libp2pDialer) Dial(ctx context.Context) (Conn, error) {
	h, err := libp2pHost(d.env)
	if err != nil {
		return nil, err
	}
	if err := h.Connect(ctx, d.to); err != nil {
		return nil, err
	}
	return &libp2pConn{h: h, to: d.to.ID, own: true}, nil
}

func (d *libp2pDialer) Close() error { return nil }

type libp2pConn struct {
	h       host.Host
	to      p2ppeer.ID
	own     bool
	streams map[Kind]chan network.Stream
}

func (c *libp2pConn) Open(ctx context.Context, k Kind) (Channel, error) {
	s, err := c.h.NewStream(ctx, c.to, libp2pProtocol(k))
	if err != nil {
		return nil, err
	}
	return newStreamChannel(s, k), hello(s, k)
}

func (c *libp2pConn) Accept(ctx context.Context, k Kind) (Channel, error) {
	select {
	case s := <-c.streams[k]:
		return newStreamChannel(s, k), expect(s, k)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *libp2pConn) Close() error {
	if c.own {
		return c.h.Close()
	}
	return nil
}
