// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A relayPipe is the way to a relay over a shared socket.
type relayPipe struct {
	*udp.Pipe
	sent atomic.Int64 // when something was last sent to the relay, after Endpoint.born
}

// sentTo notes that a STUN server was asked: it may be a relay too, and then the NAT keeps one mapping for both.
func (r *relays) sentTo(server netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.pipes[server]; p != nil {
		p.sent.Store(int64(time.Since(r.e.born)))
	}
}

// shared says whether server is a relay that is reached over a shared socket.
func (r *relays) shared(server netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pipes[server] != nil
}

// connect opens the way to the relay: over the shared socket for UDP, over a connection of its own otherwise.
func (r *relays) connect(ctx context.Context, u signaling.RelayAddr) (net.PacketConn, netip.AddrPort, error) {
	if u.Transport == "udp" {
		addrs := r.e.resolve(hostport(u))
		if len(addrs) == 0 {
			return nil, netip.AddrPort{}, errors.New("no address")
		}
		server := addrs[0]
		local := r.e.socketFor(server.Addr()).conn.LocalAddr()
		pipe := &relayPipe{}
		pipe.Pipe = udp.NewPipe(local, server, func(b []byte, to netip.AddrPort) error {
			pipe.sent.Store(int64(time.Since(r.e.born)))
			return r.e.writeDirect(b, to)
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.pipes[server] != nil {
			_ = pipe.Close()
			return nil, server, fmt.Errorf("two relays at %v", server)
		}
		r.pipes[server] = pipe
		return pipe, server, nil
	}
	c, err := r.e.cfg.Network.DialContext(ctx, "tcp", hostport(u))
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	if u.TLS {
		conf := &tls.Config{MinVersion: tls.VersionTLS12}
		if r.e.cfg.RelayTLS != nil {
			conf = r.e.cfg.RelayTLS.Clone()
		}
		if conf.ServerName == "" {
			conf.ServerName = u.Host
		}
		tc := tls.Client(c, conf)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, netip.AddrPort{}, err
		}
		c = tc
	}
	server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 0, 8}), 3478) // a stream has one end; any address serves
	if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		server = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return turnx.NewStreamConn(c), server, nil
}

func (r *relays) disconnect(conn net.PacketConn, server netip.AddrPort) {
	r.mu.Lock()
	if p, ok := conn.(*relayPipe); ok && r.pipes[server] == p {
		delete(r.pipes, server)
	}
	r.mu.Unlock()
	_ = conn.Close()
}

// deliver takes a datagram of the shared socket that comes from a relay, and reports whether it does.
func (r *relays) deliver(b []byte, from netip.AddrPort) bool {
	r.mu.Lock()
	p := r.pipes[from]
	r.mu.Unlock()
	if p == nil || (udp.Classify(b) == udp.STUN && r.e.stun.asked(b)) {
		return false
	}
	p.Deliver(b, from)
	return true
}
