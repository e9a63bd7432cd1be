// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package relay is a STUN and TURN server (RFC 8489, RFC 8656) that is safe to run in the open: the protocol core is
// pion's, everything an operator expects around it is here.
//
//	pc, _ := net.ListenPacket("udp4", "198.51.100.7:3478")
//	ln, _ := net.Listen("tcp4", "198.51.100.7:3478")
//	s, err := relay.New(&relay.Config{
//		PacketConns: []net.PacketConn{pc},
//		Listeners:   []net.Listener{ln},
//		RelayIP:     netip.MustParseAddr("198.51.100.7"),
//		Secrets:     []string{secret}, // shared with the rendezvous server, which mints credentials with it
//	})
//	if err != nil {
//		return err
//	}
//	go s.Serve()
//	defer s.Close()
//
// # From outside in
//
// A packet passes, in this order: the listener, which survives a shortage of file descriptors and caps streams in all
// and per source; a gate per socket or stream, which drops what is malformed, limits what strangers get answered,
// verifies credentials, applies quotas and the peer policy and answers most refusals itself; the protocol core; and the
// allocation, which is the socket that the core relays through, and applies the policy again to every single packet.
// Each accepted stream has a core of its own, so that an allocation ends with its connection.
//
// # Peer policy
//
// Clients reach public IPv4 addresses and the relayed addresses of one another. They do not reach private, loopback,
// link-local, multicast, reserved or metadata addresses, in whichever of the IPv6 forms they are written, nor this
// machine. [Config.AllowPeers] opens ranges by name; see [Policy].
//
// # Limitations
//
//   - Relayed addresses are IPv4. Clients may come over IPv6.
//   - No TCP relaying (RFC 6062), mobility (RFC 8016), reservation of the next higher port, or ALTERNATE-SERVER.
//   - No STUN over DTLS and no NAT behaviour discovery (RFC 5780).
//   - A challenge is about 120 bytes for a request of 28 at least; sources are limited to ten answers a second.
//   - The number of UDP sockets per address is fixed at start: the kernel spreads clients over them by address, and a
//     client must stay on its own.
package relay
