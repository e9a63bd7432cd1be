// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import "testing"

// A host that has two uplinks uses the one with the better route, and each has the NAT of its own site.
func TestUplinks(t *testing.T) {
	n := New(t)
	echo := newEcho(t, n.Site("servers", nil).Host("server"))
	a, b := n.Site("a", &SiteConfig{NAT: Cone}), n.Site("b", &SiteConfig{NAT: Cone})
	host := a.Host("host")
	cable := host.Plug(b)
	s := listen(t, host)
	check := func(when string, want *Site) {
		t.Helper()
		if got := mapped(t, s, echo).Addr(); got != want.Addr() {
			t.Errorf("%s the host is seen at %v, want %v", when, got, want.Addr())
		}
	}
	check("before the cable is in", a)
	host.Uplink().Down()
	host.Uplink().Up(600)
	cable.Up(100)
	check("with both", b)
	cable.Down()
	check("without the cable", a)
	host.Uplink().Down()
	cable.Up(100)
	check("with the cable alone", b)

	b.SetDown(true)
	send(t, s, "x", echo)
	if got, from := receive(t, s, silence); from.IsValid() {
		t.Errorf("%q came back in an outage, want silence", got)
	}
	b.SetDown(false)
	check("after the outage", b)
}
