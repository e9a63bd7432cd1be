// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"context"
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

	first   *Uplink
	uplinks int
}

// Host adds a host to the site. The name must be new to the network.
func (s *Site) Host(name string) *Host {
	s.net.tb.Helper()
	h := &Host{site: s, name: s.net.namespace(name, false)}
	u := h.Plug(s)
	u.Up(0)
	h.a4, h.a6, h.first = u.a4, u.a6, u
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
