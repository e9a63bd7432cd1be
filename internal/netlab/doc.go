// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package netlab is a virtual internet for tests: hosts behind NATs of every kind, links with delay, jitter and loss,
// hosts that move, NATs that reboot, and a tap on everything that crosses the core. In a testing/synctest bubble it runs in
// virtual time, so a test with 200 ms round trips and minutes of silence takes milliseconds.
//
//	synctest.Test(t, func(t *testing.T) {
//		lab, err := netlab.New(&netlab.Config{OneWay: 20 * time.Millisecond, Seed: 1})
//		if err != nil {
//			t.Fatal(err)
//		}
//		defer lab.Close() // a bubble fails on goroutines that are left
//		alice, _ := lab.AddHost(netlab.PortRestricted)
//		server, _ := lab.AddHostWith(netlab.HostConfig{NAT: netlab.Public}) // next to the core: no delay of its own
//		conn, _ := alice.ListenPacket(t.Context(), "udp4", netip.AddrPort{})
//		...
//	})
//
// # Shape
//
// Every host has a link to the core. The NAT, if any, stands at the host's end of the link:
//
//	host ── NAT ───── link ───── core ───── link ───── NAT ── host
//	     (mapping)  (OneWay, Jitter, Loss)          (filter)
//
// HostConfig says what stands where NAT is written here: a NAT in any detail that RFC 4787 knows, a NAT behind the NAT of
// another host, IPv6 beside it or instead, a stateful firewall, or something that drops all UDP.
//
// A packet from A to B takes A's OneWay plus B's, and is lost with A's Loss or B's. A mapping exists from the moment
// the packet leaves the NAT, so two hosts that send at the same moment open their NATs for each other. Packets keep
// their order from one host to another unless one of the two has Jitter. SetConditions adds to a link, or to the way from
// one host to another, whatever package condition can do: bursts of losses, bandwidth and queues, reordering, twins.
//
// # Reproducibility
//
// The fate of the n-th packet from one site to another depends on Config.Seed, on the order in which hosts were added
// and on n only. What remains is the order in which goroutines of a test happen to send.
//
// # Changes
//
// Rebind restarts a NAT, Renumber gives a site another public address, MoveTo brings a host to another site while its
// sockets stay open, Detach and Attach make a hole that the host notices and SetDown one that it does not, AddInterface and
// SetDefault give it two uplinks. WaitChange tells a program on the host what a program can know of this.
//
// # Limitations
//
// TCP (DialContext, Listen) is a simple one: no congestion control, no half-closed streams, a NAT table of its own with
// mappings that last for two hours; taps do not see it. Links have no bandwidth and no queue of their own. Hosts behind the
// same NAT reach each other at once, without loss, and unseen by taps; multicast reaches them only, and is seen by
// TapMulticast. Addresses are made up: 5.0.0.0/8 outside, 10.0.0.0/8 inside, 2a05::/16 for IPv6. There is no ICMP: nobody is
// told that a packet was dropped or was too large. Renumber leaves the IPv6 prefixes of sites behind other sites as they
// are. For what the NATs lack see package nat.
package netlab
