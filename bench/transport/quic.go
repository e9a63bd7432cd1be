// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
)

const quicModule = "github.com/quic-go/quic-go"

var quicStreams = &Transport{
	Name:      "quic-go",
	Idle:      true,
	Stream:    true,
	About:     "a connection with default settings, a stream for each channel",
	Module:    quicModule,
	Listen:    func(ctx context.Context, env Env) (Listener, error) { return quicListen(env, false) },
	NewDialer: func(ctx context.Context, env Env) (Dialer, error) { return quicNewDialer(ctx, env, false) },
}

var quicDatagrams = &Transport{
	Name:       "quic-go-dgram",
	About:      "a connection with default settings; bulk on a stream, everything else in RFC 9221 datagrams, which may be lost",
	Module:     quicModule,
	MaxMessage: 1100, // fits before the path's MTU has been found
	Listen:     func(ctx context.Context, env Env) (Listener, error) { return quicListen(env, true) },
	NewDialer:  func(ctx context.Context, env Env) (Dialer, error) { return quicNewDialer(ctx, env, true) },
}

const (
	alpn      = "runnel-bench"
	closeTime = 2 * time.Second
)

func quicConfig() *quic.Config {
	return &quic.Config{EnableDatagrams: true, MaxIdleTimeout: time.Minute}
}

// udpSocket opens a socket for those libraries that want one.
func udpSocket(addr netip.Addr) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
}

type quicListener struct {
	l         *quic.Listener
	datagrams bool
}

func quicListen(env Env, datagrams bool) (Listener, error) {
	cert, err := selfSigned()
	if err != nil {
		return nil, err
	}
	sock, err := udpSocket(env.Local)
	if err != nil {
		return nil, err
	}
	tr := &quic.Transport{Conn: sock}
	l, err := tr.Listen(&tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13,
	}, quicConfig())
	if err != nil {
		return nil, err
	}
	return quicListener{l, datagrams}, env.Signal.Send([]byte(sock.LocalAddr().String()))
}

func (l quicListener) Accept(ctx context.Context) (Conn, error) {
	c, err := l.l.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return quicConn{c, l.datagrams}, nil
}

func (l quicListener) Close() error { return l.l.Close() }

type quicDialer struct {
	tr        *quic.Transport
	to        *net.UDPAddr
	datagrams bool
}

func quicNewDialer(ctx context.Context, env Env, datagrams bool) (Dialer, error) {
	b, err := env.Signal.Recv(ctx)
	if err != nil {
		return nil, err
	}
	to, err := net.ResolveUDPAddr("udp4", string(b))
	if err != nil {
		return nil, err
	}
	sock, err := udpSocket(env.Local)
	if err != nil {
		return nil, err
	}
	return quicDialer{&quic.Transport{Conn: sock}, to, datagrams}, nil
}

func (d quicDialer) Dial(ctx context.Context) (Conn, error) {
	c, err := d.tr.Dial(ctx, d.to, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}}, quicConfig())
	if err != nil {
		return nil, err
	}
	return quicConn{c, d.datagrams}, nil
}

func (d quicDialer) Close() error { return d.tr.Close() }

type quicConn struct {
	c         *quic.Conn
	datagrams bool
}

func (c quicConn) Open(ctx context.Context, k Kind) (Channel, error) {
	if c.datagrams && k != Bulk {
		return quicDatagramChannel{c.c}, nil
	}
	s, err := c.c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return newStreamChannel(s, k), hello(s, k)
}

func (c quicConn) Accept(ctx context.Context, k Kind) (Channel, error) {
	if c.datagrams && k != Bulk {
		return quicDatagramChannel{c.c}, nil
	}
	s, err := c.c.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return newStreamChannel(s, k), expect(s, k)
}

// Counts makes a quicConn a Counter.
func (c quicConn) Counts() map[string]float64 {
	st := c.c.ConnectionStats()
	return map[string]float64{
		"packets sent": float64(st.PacketsSent), "packets lost": float64(st.PacketsLost),
		"bytes sent": float64(st.BytesSent), "rtt ms": st.SmoothedRTT.Seconds() * 1e3,
	}
}

func (c quicConn) Close() error { return c.c.CloseWithError(0, "") }

// A quicDatagramChannel is all datagrams of a connection.
type quicDatagramChannel struct{ c *quic.Conn }

// Send copies b, since quic-go sends it later.
func (d quicDatagramChannel) Send(b []byte) error { return d.c.SendDatagram(append([]byte(nil), b...)) }
func (d quicDatagramChannel) Flush() error        { return nil }
func (d quicDatagramChannel) Recv([]byte) ([]byte, error) {
	return d.c.ReceiveDatagram(context.Background())
}
