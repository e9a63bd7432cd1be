// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"net"
	"net/netip"
)

// A Network opens the sockets of an [Endpoint]. The operating system's is used when [Config.Network] is nil;
// package peertest has a virtual one, and a program on a platform with a network API of its own may bring another.
type Network interface {
	// ListenPacket opens a UDP socket. network is "udp4" or "udp6"; a zero port lets the system choose.
	// An error that is errors.ErrUnsupported says that the network has no such address family.
	ListenPacket(ctx context.Context, network string, addr netip.AddrPort) (net.PacketConn, error)

	// DialContext opens a stream to a relay. network is "tcp".
	DialContext(ctx context.Context, network, address string) (net.Conn, error)

	// LocalAddrs lists the unicast addresses at which this host may be reached.
	LocalAddrs() ([]netip.Addr, error)
}

// A NetworkMonitor knows when the network of this host changes. A [Network] may be one.
type NetworkMonitor interface {
	// WaitChange blocks until addresses, routes or links have changed since it last returned, or since the monitor began
	// when it has not been called before. It returns an error, ctx's among others, when it cannot say any more; it is
	// not called again then.
	WaitChange(ctx context.Context) error
}

// A PrefixNetwork is a [Network] that knows the networks its host is on. [LANOnly] needs to know them; of a Network that
// does not say it is assumed that each of its private addresses is in a network of 24 bits, or 64 of IPv6.
type PrefixNetwork interface {
	Network

	// LocalPrefixes lists the networks whose hosts are reached without a router.
	LocalPrefixes() ([]netip.Prefix, error)
}

// A MulticastNetwork is a [Network] on which peers may be found by [Config].LAN, as is that of the operating system.
type MulticastNetwork interface {
	Network

	// ListenMulticast opens a socket that gets what is sent to a group on the local network, on every interface that can
	// do multicast, by others of the same host too. network is "udp4" or "udp6". The socket shares the group's port with
	// those of other programs. ReadFrom must show no packet from beyond the local link; WriteTo with the group's address
	// sends on every such interface. The socket need not follow changes of interfaces: it is closed and another opened.
	// If it has a method LocalAddrs(from net.Addr) []netip.Addr, that says which addresses of this host are on the link
	// of a sender; otherwise all of them are taken to be.
	// An error that is errors.ErrUnsupported says that the network has no such address family, or no multicast.
	ListenMulticast(ctx context.Context, network string, group netip.AddrPort) (net.PacketConn, error)
}
