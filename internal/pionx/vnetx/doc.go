// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package vnetx puts pion's virtual network behind types of our own. It is for tests; package netlab is the
// pleasant way to use it.
//
// A [Site] is one place on a virtual internet: a public IPv4 address, perhaps a NAT, and the hosts behind it.
// Sites know nothing of each other. What leaves a site is handed to [Config.Egress]; what should enter one goes
// in by [Site.Ingress]. Whoever owns the sites decides what lies between them: delay, loss, a wire-tap.
//
//	site, err := vnetx.New(&vnetx.Config{
//		Public:    netip.MustParseAddr("5.0.0.1"),
//		LAN:       netip.MustParsePrefix("10.0.1.0/24"),
//		NAT:       true,
//		Mapping:   vnetx.Independent,
//		Filtering: vnetx.AddressAndPort,
//		Egress:    func(src, dst netip.AddrPort, b []byte) { core <- packet{src, dst, b} },
//	})
//	host, err := site.AddHost(netip.MustParseAddr("10.0.1.2"))
//	sock, err := host.Listen(netip.MustParseAddrPort("0.0.0.0:4000"), func(b []byte, from netip.AddrPort) { ... })
//
// Inside, a site is a pion router for the public side, a pion router with NAT for the private side and a pion
// Net per host. Every packet that reaches the public router with the site's own source address is taken out by
// a chunk filter; every packet from outside enters by a pion Net that holds the sender's address. This makes up
// for what pion's vnet lacks: links with their own delay and loss in each direction, and a NAT that can reboot.
//
// The package reads no clock but time.Now and starts no timer with a wall-clock meaning, so it works in virtual
// time (testing/synctest).
//
// # Limitations
//
// IPv4 and UDP only. No hairpinning: a packet to the site's own public address is dropped. NAT mappings are
// refreshed by outbound packets only (RFC 4787 REQ-6), external ports are handed out in sequence and a NAT has
// 16384 of them between two reboots; a NAT that ran out stops forwarding. Filter entries live as long as
// their mapping.
package vnetx
