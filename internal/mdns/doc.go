// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package mdns finds peers on the local network by multicast DNS (RFC 6762), for those only who know whom they look
// for. A query names nobody: it carries a nonce and a tag made of the nonce and the ID of the peer that is wanted, and
// only who has that ID can tell. docs/PROTOCOL.md §14 has every byte.
//
//	conn, err := mdns.Listen(ctx, "udp4", mdns.Group("udp4"))
//	...
//	nonce := mdns.Nonce{...} // 16 fresh random bytes
//	conn.WriteTo(mdns.AppendQuery(nil, mdns.Query{Nonce: nonce, Unicast: true}, id, time.Now()), group)
//	n, from, err := conn.ReadFrom(buf)
//	m, ok := mdns.Parse(buf[:n])
//	if ok && m.Answer != nil && m.Answer.Nonce == nonce && m.Answer.Authentic(id) {
//		dial(m.Answer.Addrs)
//	}
//
// and, on the other side, a [Responder] says which queries are to be answered.
//
// # Why no library
//
// Libraries of multicast DNS and DNS-SD answer for names that they have been told, and announce them. Here every query is for
// a name that has never been heard before, and whether to answer it is computed from the name. What is left of such a
// library then is the message format, which golang.org/x/net/dns/dnsmessage has.
//
// # Limitations
//
// A link-local IPv6 address is never told, for it means nothing without the other side's zone: peers on a link that has no
// other addresses meet over IPv4 only. On systems whose kernel does not report a packet's TTL and interface (Windows) only
// the source address tells that a packet comes from the link. Nothing is announced, so nobody can be browsed for.
package mdns
