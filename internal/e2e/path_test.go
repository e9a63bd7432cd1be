// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"net/netip"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// The usual sites of peers.
var (
	cone      = &netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv4}
	symmetric = &netns.SiteConfig{NAT: netns.Symmetric, Family: netns.IPv4}
)

// Which NATs let two peers meet directly is a matter of logic: a symmetric NAT shows a peer another address than it shows
// the STUN server, which is only good for a peer who takes packets from anywhere.
func TestPaths(t *testing.T) {
	tests := []struct {
		name string
		lab  labConfig
		a, b *netns.SiteConfig
		want string
	}{
		{"public-public", labConfig{}, nil, nil, "direct"},
		{"cone-cone", labConfig{}, cone, cone, "direct"},
		{"public-symmetric", labConfig{}, nil, symmetric, "direct"},
		{"symmetric-public", labConfig{}, symmetric, nil, "direct"},
		{"cone-symmetric", labConfig{}, cone, symmetric, "relayed"},
		{"symmetric-symmetric", labConfig{}, symmetric, symmetric, "relayed"},
		{
			"ipv6",
			labConfig{ipv6: true},
			&netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv6}, &netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv6},
			"direct",
		},
		{"small-mtu", labConfig{}, &netns.SiteConfig{NAT: netns.Symmetric, Family: netns.IPv4, MTU: 1280}, symmetric, "relayed"},
		{
			"udp-blocked",
			labConfig{},
			&netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv4, BlockUDP: true}, cone,
			"relayed",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, test.lab)
			p := l.pair(test.a, test.b)
			meet(p.alice, p.bob)
			if test.want == "direct" {
				p.alice.direct(p.bob)
				p.bob.direct(p.alice)
			}
			talk(p.alice, p.bob, "hello")
			p.check(test.want)
		})
	}
}

// check checks how packets go in the end, and that there has been one session.
func (p *pair) check(want string) {
	for c, other := range map[*chatter]*chatter{p.alice: p.bob, p.bob: p.alice} {
		c.t.Helper()
		if got := c.path(other); got != want {
			c.t.Errorf("%s: the path is %s, want %s", c.nick, got, want)
		}
		c.sameSession()
	}
}

// Two peers in one house do not need what is outside, however bad its NAT.
func TestSameLAN(t *testing.T) {
	l := newLab(t, labConfig{})
	home := l.Site("home", symmetric)
	p := &pair{siteA: home, siteB: home, alice: l.chat(home.Host("alice"), "alice"), bob: l.chat(home.Host("bob"), "bob")}
	meet(p.alice, p.bob)
	p.alice.direct(p.bob)
	p.bob.direct(p.alice)
	talk(p.alice, p.bob, "hello")
	p.check("direct")
}

// A peer with a public address is dialled there, without any server.
func TestAddress(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) {
			n := netns.New(t)
			here, there := n.Site("a", &netns.SiteConfig{NAT: netns.Cone}).Host("alice"), n.Site("b", nil).Host("bob")
			at := netip.AddrPortFrom(there.Addr(), 5000)
			if family == "IPv6" {
				at = netip.AddrPortFrom(there.Addr6(), 5000)
			}
			bob := startChat(t, there, "bob", t.TempDir(), "--listen", at.String())
			bob.expect(startTime, `^\* address `)
			alice := startChat(t, here, "alice", t.TempDir())
			meetAt(alice, bob, bob.id+"@"+at.String())
			talk(alice, bob, "hello")
			(&pair{alice: alice, bob: bob}).check("direct")
		})
	}
}
