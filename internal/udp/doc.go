// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package udp adapts datagram sockets to the rest of the SDK: it opens them, tells the protocols that share one
// apart, and presents real and virtual sockets alike.
//
//	pc, err := udp.Listen(ctx, "udp4", netip.AddrPort{}) // or the socket of a virtual network
//	c := udp.New(pc)
//	for {
//		buf := udp.GetBuffer(udp.MaxBatch)
//		r, err := c.ReadBatch(buf.Bytes())
//		if err != nil {
//			buf.Release()
//			if udp.Temporary(err) {
//				continue
//			}
//			return err
//		}
//		for p := range slices.Chunk(buf.Bytes()[:r.N], r.Segment) {
//			switch udp.Classify(p) {
//			case udp.Runnel: // hand p on with a reference to buf; whoever has it calls Release
//			case udp.STUN, udp.TURNChannel: // …
//			}
//		}
//		buf.Release()
//	}
//
// On Linux a system call moves a train of datagrams where the kernel can do that (UDP_SEGMENT, UDP_GRO), which costs a
// tenth of one call for each, and ECN marks are set and read. Elsewhere, and where the kernel refuses, the same calls
// move one datagram at a time. Datagrams are never fragmented on Linux, macOS and Windows.
//
// An endpoint owns one socket per address family for everything: Runnel packets, STUN, TURN and media (RFC 7983,
// RFC 9443). A [Pipe] makes one server behind that socket look like a socket of its own, for clients that want one.
//
// Addresses are [netip.AddrPort] everywhere, with IPv4 never in its IPv4-mapped form, so that addresses can be
// compared with ==.
//
// # Limitations
//
// Datagrams to or from different addresses take a system call each (there is no recvmmsg and no sendmmsg). macOS and
// Windows move one datagram at a time and have no ECN marks here.
//
// A reader stays awake for an answer only on Linux, and in vain where both ends share a processor.
package udp
