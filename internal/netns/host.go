// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"syscall"
)

// A Host is a machine at a site.
type Host struct {
	site *Site
	name string // its namespace
	a4   netip.Addr
	a6   netip.Addr
}

// Host adds a host to the site. The name must be new to the network.
func (s *Site) Host(name string) *Host {
	n := s.net
	n.tb.Helper()
	s.hosts++
	i := s.hosts + 1 // the router has number 1
	if i > 251 {
		n.tb.Fatal("netns: more than 250 hosts at a site")
	}
	h := &Host{site: s, name: n.namespace(name, false)}
	port := fmt.Sprintf("host%d", i)
	n.run("", "ip", "link", "add", "eth0", "netns", h.name, "type", "veth", "peer", "name", port, "netns", s.router)
	n.ip(s.router, "link set "+port+" master lan up")

	// Segmentation offload would let a host send 64 kB through the network as one packet, to be lost as one.
	commands := []string{"link set eth0 gso_max_segs 1 up"}
	if s.has4() {
		h.a4 = s.lanAddr(i)
		commands = append(commands,
			fmt.Sprintf("addr add %s/24 dev eth0", h.a4),
			fmt.Sprintf("route add default via %s", s.lanAddr(1)))
	}
	if s.has6() {
		h.a6 = s.lanAddr6(i)
		commands = append(commands,
			fmt.Sprintf("addr add %s/64 dev eth0 nodad", h.a6),
			fmt.Sprintf("route add default via %s", s.lanAddr6(1)))
	}
	n.ip(h.name, commands...)
	return h
}

// Addr is the host's own IPv4 address, or its IPv6 address at an IPv6-only site. Behind a NAT the world sees another,
// [Site.Addr].
func (h *Host) Addr() netip.Addr {
	if h.a4.IsValid() {
		return h.a4
	}
	return h.a6
}

// Addr6 is the host's IPv6 address, which is not valid at an IPv4-only site.
func (h *Host) Addr6() netip.Addr { return h.a6 }

// Command is [exec.CommandContext] inside the host. The process dies with this one, if not before.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", slices.Concat([]string{"netns", "exec", h.name, name}, args)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Do calls f on a thread that is inside the host: sockets that f opens are the host's, and stay so when f has returned.
// Goroutines that f starts are not inside, which concerns [net.Dialer] with names or more than one address.
func (h *Host) Do(f func() error) error { return within(h.name, f) }
