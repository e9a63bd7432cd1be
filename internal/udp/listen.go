// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// socketBuffer is what the socket buffers are raised toward, in bytes. The default of most systems holds about 150
// full datagrams, which a burst at 1 Gbit/s fills in 2 ms.
const socketBuffer = 4 << 20

// Listen opens a UDP socket of one family. network is "udp4" or "udp6"; a udp6 socket carries IPv6 only. If addr is
// the zero AddrPort, all addresses of the host and a port chosen by the system are used.
//
// On a host that lacks the family the error is [errors.ErrUnsupported].
//
// The buffers of the socket are made as large as the system permits, up to 4 MiB each; less is no error.
func Listen(ctx context.Context, network string, addr netip.AddrPort) (net.PacketConn, error) {
	switch network {
	case "udp4":
		if !addr.Addr().IsValid() {
			addr = netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())
		}
	case "udp6": // package net sets IPV6_V6ONLY for this network
		if !addr.Addr().IsValid() {
			addr = netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port())
		}
	default:
		return nil, fmt.Errorf("udp: listen: network %q, want udp4 or udp6", network)
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error { return rc.Control(noBroadcast) }}
	pc, err := lc.ListenPacket(ctx, network, addr.String())
	if err != nil {
		var no syscall.Errno
		if errors.As(err, &no) && noFamily(no) {
			return nil, fmt.Errorf("udp: %w: %w", errors.ErrUnsupported, err)
		}
		return nil, fmt.Errorf("udp: %w", err)
	}
	if c, ok := pc.(*net.UDPConn); ok {
		raiseBuffers(c)
	}
	return pc, nil
}

// growBuffers asks for large buffers the portable way. Linux silently gives what it permits; other systems refuse
// what is too much, so smaller sizes are tried. What the socket has is never made smaller than it was by default
// on any system we know (208 KiB).
func growBuffers(c *net.UDPConn) {
	for _, set := range []func(int) error{c.SetReadBuffer, c.SetWriteBuffer} {
		for size := socketBuffer; size >= 256<<10 && set(size) != nil; size /= 2 {
		}
	}
}

// OS is the operating system's network, as the endpoint uses it. A test puts a virtual network in its place.
type OS struct{}

// ListenPacket is [Listen].
func (OS) ListenPacket(ctx context.Context, network string, addr netip.AddrPort) (net.PacketConn, error) {
	return Listen(ctx, network, addr)
}

// DialContext connects a stream to a server by name, as [net.Dialer.DialContext] does.
func (OS) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// LocalAddrs is the function of that name.
func (OS) LocalAddrs() ([]netip.Addr, error) { return LocalAddrs() }

// LocalPrefixes is the function of that name.
func (OS) LocalPrefixes() ([]netip.Prefix, error) { return LocalPrefixes() }
