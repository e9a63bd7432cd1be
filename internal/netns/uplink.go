// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// An Uplink is an interface by which a host is, or may be, at a site: its Wi-Fi, its cable.
type Uplink struct {
	host *Host
	site *Site
	dev  string
	port string // the router's end
	a4   netip.Addr
	a6   netip.Addr
}

// Plug gives the host one more interface, eth0 being the first, at a site that may be another than its own. It is down and
// has no addresses before [Uplink.Up].
func (h *Host) Plug(s *Site) *Uplink {
	n := s.net
	n.tb.Helper()
	s.hosts++
	i := s.hosts + 1 // the router has number 1
	if i > 251 {
		n.tb.Fatal("netns: more than 250 hosts at a site")
	}
	u := &Uplink{host: h, site: s, dev: "eth" + strconv.Itoa(h.uplinks)}
	h.uplinks++
	if s.has4() {
		u.a4 = s.lanAddr(i)
	}
	if s.has6() {
		u.a6 = s.lanAddr6(i)
	}
	u.port = fmt.Sprintf("host%d", i)
	n.run("", "ip", "link", "add", u.dev, "netns", h.name, "type", "veth", "peer", "name", u.port, "netns", s.router)
	n.ip(s.router, "link set "+u.port+" master lan up")
	// Segmentation offload would let a host send 64 kB through the network as one packet, to be lost as one.
	n.ip(h.name, "link set "+u.dev+" gso_max_segs 1")
	return u
}

// Up connects: the link comes up and gets its addresses and a default route, all at once. Of two default routes the one
// with the lower metric counts, as with NetworkManager, which gives cable 100 and Wi-Fi 600; a metric above 0.
func (u *Uplink) Up(metric int) {
	u.site.net.tb.Helper()
	u.site.net.ip(u.host.name, "link set "+u.dev+" up")
	u.await()
	var commands []string
	for _, a := range []struct {
		addr, router netip.Addr
		size, flags  string
	}{{u.a4, u.site.lanAddr(1), "/24", ""}, {u.a6, u.site.lanAddr6(1), "/64", " nodad"}} {
		if !a.addr.IsValid() {
			continue
		}
		route := fmt.Sprintf("route replace default via %s dev %s", a.router, u.dev)
		if metric > 0 {
			route += fmt.Sprintf(" metric %d", metric)
		}
		commands = append(commands, fmt.Sprintf("addr replace %s%s dev %s%s", a.addr, a.size, u.dev, a.flags), route)
	}
	u.site.net.ip(u.host.name, commands...)
}

// await waits until the router's end of the link, which is up, passes packets on. An ARP request that is lost because it does
// not yet costs a second, and hosts have no address by then: they have asked for one over the same link.
func (u *Uplink) await() {
	n := u.site.net
	n.tb.Helper()
	for deadline := time.Now().Add(setupTime); ; time.Sleep(time.Millisecond) {
		out, err := execute("", "ip", "-n", u.site.router, "-d", "link", "show", "dev", u.port)
		switch {
		case err != nil:
			n.tb.Fatalf("netns: %s of %s: %v\n%s", u.port, u.site.router, err, out)
		case strings.Contains(out, "bridge_slave state forwarding"):
			return
		case time.Now().After(deadline):
			n.tb.Fatalf("netns: %s of %s does not come up:\n%s", u.port, u.site.router, out)
		}
	}
}

// Down disconnects: the addresses and with them the routes are gone, and then the link.
func (u *Uplink) Down() {
	u.site.net.tb.Helper()
	u.site.net.ip(u.host.name, "addr flush dev "+u.dev, "link set "+u.dev+" down")
}

// Addr is the IPv4 address that the host has by this uplink, or the IPv6 address at an IPv6-only site.
func (u *Uplink) Addr() netip.Addr {
	if u.a4.IsValid() {
		return u.a4
	}
	return u.a6
}

// Uplink is the interface that the host was made with.
func (h *Host) Uplink() *Uplink { return h.first }

// SetDown has the site's provider lose everything, in both directions and silently, until it is called with false. Hosts
// notice nothing but that nobody answers. What the NAT knows it keeps.
func (s *Site) SetDown(down bool) {
	s.net.tb.Helper()
	rules := "flush chain inet runnel outage\n"
	if down {
		rules += "add rule inet runnel outage counter drop\n"
	}
	s.net.nft(s.router, rules)
}
