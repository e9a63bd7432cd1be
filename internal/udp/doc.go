// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package udp adapts datagram sockets to the rest of the SDK: it opens them, tells the protocols that share one
// apart, and presents real and virtual sockets alike.
//
//	pc, err := udp.Listen(ctx, "udp4", netip.AddrPort{}) // or the socket of a virtual network
//	c := udp.New(pc)
//	for {
//		buf := udp.GetBuffer()
//		n, from, err := c.ReadFrom(buf[:])
//		if err != nil {
//			udp.PutBuffer(buf)
//			if udp.Temporary(err) {
//				continue
//			}
//			return err
//		}
//		switch udp.Classify(buf[:n]) {
//		case udp.Runnel: // hand buf on; whoever is last to use it calls PutBuffer
//		case udp.STUN, udp.TURNChannel: // …
//		}
//	}
//
// An endpoint owns one socket per address family for everything: Runnel packets, STUN, TURN and media (RFC 7983,
// RFC 9443). A [Pipe] makes one server behind that socket look like a socket of its own, for clients that want one.
//
// Addresses are [netip.AddrPort] everywhere, with IPv4 never in its IPv4-mapped form, so that addresses can be
// compared with ==.
//
// # Limitations
//
// One system call moves one datagram. Batches (recvmmsg, sendmmsg) and segmentation offload (UDP_SEGMENT, UDP_GRO)
// belong into [Conn], as methods that take many datagrams next to the two that take one: the loop that reads a
// socket hands over buffer by buffer already, and nothing outside this package sees the socket.
//
// The don't-fragment bit and ECN marks are left as the operating system sets them.
package udp
