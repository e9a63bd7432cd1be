// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package netns builds small internets out of Linux network namespaces, for tests that run real processes over a real
// kernel's NAT, firewall and queues. It exists only with the build tag e2e on Linux; without it the package is empty.
//
//	func TestSomething(t *testing.T) {
//		net := netns.New(t) // skips the test where namespaces are not permitted
//		servers := net.Site("servers", nil)
//		home := net.Site("home", &netns.SiteConfig{NAT: netns.Cone, Loss: 0.02})
//		server, alice := servers.Host("server"), home.Host("alice")
//
//		cmd := alice.Command(t.Context(), "/path/to/client", server.Addr().String()+":7000")
//		out, err := cmd.CombinedOutput()
//		...
//	}
//
// # Shape
//
// Every site is a router with a LAN behind it, and every router has a link to the core, which knows the way to all:
//
//	host ──┐
//	host ──┴─ lan [router: NAT, firewall, loss] wan ──── link (rate, MTU) ──── [core] ──── ... other sites
//
// Hosts, routers and the core are namespaces of their own. None has a link to the namespace of the machine, so nothing
// leaves the test and the machine's own firewall and addresses do not matter.
//
// # NAT
//
// The routers use the kernel's own NAT (nftables masquerade). [Cone] keeps the port of the host where it can and is
// therefore endpoint-independent in its mapping and address-and-port-dependent in its filtering (RFC 4787 §4.1, §5),
// which people call a port-restricted cone. [Symmetric] draws a random port for every destination. Unsolicited
// packets are dropped before they leave a trace in the connection tracking, as home routers do. A NAT is for IPv4
// only; IPv6 behind the same router keeps its addresses, and has the same filter. [Site.MapPorts] lets hosts open ports, by
// the protocols of home routers. NATs forget, restart and get other addresses ([Site.Rebind], [Site.Renumber]), and a
// provider may fail ([Site.SetDown]).
//
// # Uplinks
//
// A host has an uplink to the site it was made at, and may have more, to others ([Host.Plug]). They come up and go down
// with their addresses and default routes, as when a laptop leaves its Wi-Fi for a cable ([Uplink.Up], [Uplink.Down]).
//
// # Addresses
//
// Addresses outside are from 5.0.0.0/8 and 2a00:5::/32, not from the documentation ranges, because relays refuse those.
// Site n (from 1, in order of creation) has 5.0.n.2 and 2a00:5:0:n::2 on its router. Hosts have 192.168.n.2 and
// up behind a NAT, 5.1.n.2 and up without one, and 2a00:5:1:n::2 and up.
//
// # Cleaning up
//
// Names start with "runnel-" and the ID of the test's process. Everything is deleted when the test ends. What a killed
// test leaves behind is deleted by the next [New], on the ground that its process is gone. Processes started by
// [Host.Command] die with the test's process.
//
// # Limitations
//
// Links have no delay, since that needs a kernel with netem. Rates are per site and direction. There is no full-cone NAT,
// no hairpinning and no NAT of IPv6. At most 200 sites and 250 hosts at each.
package netns
