// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var tlsTCP = &Transport{
	Name: "tls",
	Idle: true, Stream: true,
	About: "crypto/tls 1.3 over the kernel's TCP with CUBIC, TCP_NODELAY as Go sets it; " +
		"a connection for each channel, so voice has its own",
	Listen: func(ctx context.Context, env Env) (Listener, error) {
		cert, err := selfSigned()
		if err != nil {
			return nil, err
		}
		lc := net.ListenConfig{Control: setCUBIC}
		l, err := lc.Listen(ctx, "tcp4", netip.AddrPortFrom(env.Local, 0).String())
		if err != nil {
			return nil, err
		}
		cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
		return tlsListener{l, cfg}, env.Signal.Send([]byte(l.Addr().String()))
	},
	NewDialer: func(ctx context.Context, env Env) (Dialer, error) {
		to, err := env.Signal.Recv(ctx)
		if err != nil {
			return nil, err
		}
		return tlsDialer{string(to)}, nil
	},
}

// setCUBIC makes CUBIC the congestion control of a socket, whatever the system's default is.
func setCUBIC(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
	}); e != nil {
		return e
	}
	return err
}

// selfSigned returns a fresh certificate that nobody verifies.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

type tlsListener struct {
	l   net.Listener
	cfg *tls.Config
}

// Accept takes what was dialled; the first channel is accepted from the connection itself, further ones are further
// connections.
func (l tlsListener) Accept(ctx context.Context) (Conn, error) {
	first, err := l.accept(ctx)
	if err != nil {
		return nil, err
	}
	return &tlsConn{listener: &l, first: first}, nil
}

func (l tlsListener) accept(ctx context.Context) (*tls.Conn, error) {
	c, err := l.l.Accept()
	if err != nil {
		return nil, err
	}
	t := tls.Server(c, l.cfg)
	return t, t.HandshakeContext(ctx)
}

func (l tlsListener) Close() error { return l.l.Close() }

type tlsDialer struct{ to string }

func (d tlsDialer) Dial(ctx context.Context) (Conn, error) {
	c, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &tlsConn{dialer: &d, first: c}, nil
}

func (d tlsDialer) Close() error { return nil }

func (d tlsDialer) dial(ctx context.Context) (*tls.Conn, error) {
	nd := net.Dialer{Control: setCUBIC}
	c, err := nd.DialContext(ctx, "tcp4", d.to)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	return t, t.HandshakeContext(ctx)
}

// A tlsConn is a connection for each channel.
type tlsConn struct {
	listener *tlsListener
	dialer   *tlsDialer
	first    *tls.Conn // until it is used
	open     []*tls.Conn
}

func (c *tlsConn) next(ctx context.Context) (t *tls.Conn, err error) {
	switch {
	case c.first != nil:
		t, c.first = c.first, nil
	case c.dialer != nil:
		t, err = c.dialer.dial(ctx)
	default:
		t, err = c.listener.accept(ctx)
	}
	if t != nil {
		c.open = append(c.open, t)
	}
	return t, err
}

func (c *tlsConn) Open(ctx context.Context, k Kind) (Channel, error) {
	t, err := c.next(ctx)
	if err != nil {
		return nil, err
	}
	return newStreamChannel(t, k), hello(t, k)
}

func (c *tlsConn) Accept(ctx context.Context, k Kind) (Channel, error) {
	t, err := c.next(ctx)
	if err != nil {
		return nil, err
	}
	return newStreamChannel(t, k), expect(t, k)
}

func (c *tlsConn) Close() error {
	if c.first != nil {
		_ = c.first.Close()
	}
	for _, t := range c.open {
		_ = t.NetConn().Close() // without waiting for the peer
	}
	return nil
}
