// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// Peers on one network meet with no server, no address and no route to anywhere: on two hosts, and on the same one, where
// they share the port of multicast DNS.
func TestLAN(t *testing.T) {
	for name, c := range map[string]*netns.SiteConfig{
		"both": {NAT: netns.Cone},
		"IPv4": {NAT: netns.Cone, Family: netns.IPv4},
		"IPv6": {NAT: netns.Cone, Family: netns.IPv6},
	} {
		t.Run(name, func(t *testing.T) {
			home := netns.New(t).Site("home", c)
			here, there := home.Host("here"), home.Host("there")
			for _, h := range []*netns.Host{here, there} {
				for _, family := range []string{"-4", "-6"} {
					_ = h.Command(t.Context(), "ip", family, "route", "del", "default").Run() // if there is one
					if out, err := h.Command(t.Context(), "ip", family, "route", "show", "default").Output(); err != nil || len(out) > 0 {
						t.Fatalf("there still is a default route: %s %v", out, err)
					}
				}
			}
			alice := startChat(t, here, "alice", t.TempDir(), "--lan")
			carol := startChat(t, here, "carol", t.TempDir(), "--lan")
			bob := startChat(t, there, "bob", t.TempDir(), "--lan")
			meet(alice, bob)
			talk(alice, bob, "hello")
			(&pair{alice: alice, bob: bob}).check("direct")
			meet(bob, carol)
			meet(carol, alice)
		})
	}
}
