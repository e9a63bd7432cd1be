// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package portmap asks the router of a home network to forward a UDP port to this host, by whichever of PCP (RFC 6887),
// NAT-PMP (RFC 6886) and UPnP (Internet Gateway Device, versions 1 and 2) it speaks, and keeps the mapping alive.
//
//	m := portmap.New(portmap.Config{
//		V4:      conn.LocalAddr().(*net.UDPAddr).AddrPort(),
//		Changed: func() { tellPeers(m.Addrs()) },
//	})
//	defer m.Close(ctx) // takes the mapping back
//
// # What it does
//
// All three are tried at once, with questions that make no mapping except by PCP, which is preferred; then NAT-PMP, then
// UPnP. What answered is asked to renew after half of the time that it granted, at most [MaxLease]. A router that has
// restarted, which its epoch tells (RFC 6887 §8.5), is asked for everything again, and so is one that refuses to renew.
// [Mapper.NetworkChanged] makes a new beginning. Where there is no such router, it is looked for ever more rarely, in the
// end every two hours with a dozen packets.
//
// IPv4 gets a mapping, IPv6 a pinhole in the router's firewall, by PCP. Nobody is asked unless the host's own IPv4 address
// on the way to the internet is private: a server with a public one has no router to ask.
//
// # Whom it trusts
//
// The router of the default route and nobody else. Packets count only from its address, and PCP's only with the random
// nonce of the question. UPnP devices are believed only if they are that router, and HTTP goes only there: URLs that
// lead elsewhere are not followed, nor are redirects; bodies are bounded. The router can, of course, lie about the
// address outside. That costs peers who are told of it a few packets, no more than a lie of a STUN server does.
//
// # Limitations
//
// Restarts of the router are noticed at the next renewal, not by its multicast announcements (RFC 6887 §14.1). IPv6
// pinholes are not opened by UPnP (WANIPv6FirewallControl), nor on a network with IPv6 alone, where a home cannot be told
// from a data centre; only the address that the system prefers gets one. Only one router per address family is asked, the
// first one on the way: behind two NATs there is no mapping, which [NotPublicError] says. A mapping that is granted in the
// very moment in which the Mapper is closed stays for its time. A router that grants only permanent mappings keeps one for
// good when the process dies without [Mapper.Close].
package portmap
