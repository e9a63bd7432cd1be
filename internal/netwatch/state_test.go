// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// on is an interface that works.
func on(name string, a ...string) Interface {
	return Interface{Name: name, Up: true, Running: true, Addrs: addrs(a...)}
}

func off(i Interface) Interface {
	i.Up, i.Running = false, false
	return i
}

func unplugged(i Interface) Interface {
	i.Running = false
	return i
}

func state(i ...Interface) State { return State{Interfaces: i}.sorted() }

func (s State) by(iface, gateway, source string) State {
	s.Default4 = Route{iface, netip.MustParseAddr(gateway), netip.MustParseAddr(source)}
	return s
}

func (s State) by6(iface, gateway, source string) State {
	s.Default6 = Route{iface, netip.MustParseAddr(gateway), netip.MustParseAddr(source)}
	return s
}

func TestDiff(t *testing.T) {
	lo := on("lo", "127.0.0.1", "::1")
	lo.Loopback = true
	lo2 := on("lo", "127.0.0.1", "10.9.9.9")
	lo2.Loopback = true
	eth := on("eth0", "10.0.0.2", "fe80::1")
	wlan := on("wlan0", "192.168.1.5", "2001:db8::5")
	for _, tt := range []struct {
		name          string
		before, after State
		want          string
	}{
		{"nothing", state(lo, eth), state(lo, eth), ""},
		{"no network", State{}, State{}, ""},
		{"loopback", state(lo, eth), state(lo2, eth), ""},
		{"link-local", state(on("eth0", "10.0.0.2")), state(eth), ""},
		{"only link-local, and down", state(on("eth0", "fe80::1")), state(off(on("eth0", "fe80::1"))), ""},
		{"without addresses", state(eth), state(eth, on("veth1")), ""},
		{"multicast", state(eth), state(on("eth0", "10.0.0.2", "224.0.0.7", "ff02::7")), ""},
		{"IPv4 link-local", state(), state(on("eth0", "169.254.3.4")), "eth0 got 169.254.3.4"},
		{"lost", state(eth, wlan), state(on("eth0", "fe80::1"), wlan), "eth0 lost 10.0.0.2"},
		{"gone", state(eth, wlan), state(wlan), "eth0 lost 10.0.0.2"},
		{"new", state(eth), state(eth, wlan), "wlan0 got 192.168.1.5, 2001:db8::5"},
		{"renumbered", state(eth), state(on("eth0", "10.0.0.3")), "eth0 lost 10.0.0.2; eth0 got 10.0.0.3"},
		{"off", state(eth), state(off(eth)), "eth0 is down"},
		{"unplugged", state(eth), state(unplugged(eth)), "eth0 has no carrier"},
		{"plugged in", state(unplugged(eth)), state(eth), "eth0 is up"},
		{"back elsewhere", state(off(eth)), state(on("eth0", "10.0.0.3")), "eth0 is up; eth0 got 10.0.0.3"},
		{"from unplugged to off", state(unplugged(eth)), state(off(eth)), ""},
		{"renumbered while off", state(off(eth)), state(off(on("eth0", "10.0.0.3"))), ""},
		{
			"switched",
			state(eth, off(wlan)).by("eth0", "10.0.0.1", "10.0.0.2"),
			state(on("eth0"), wlan).by("wlan0", "192.168.1.1", "192.168.1.5"),
			"eth0 lost 10.0.0.2; wlan0 is up; default route is now by wlan0",
		},
		{
			"gateway",
			state(eth).by("eth0", "10.0.0.1", "10.0.0.2"), state(eth).by("eth0", "10.0.0.9", "10.0.0.2"),
			"default route is now through 10.0.0.9",
		},
		{
			"source of IPv6",
			state(wlan).by6("wlan0", "fe80::1", "2001:db8::5"), state(wlan).by6("wlan0", "fe80::1", "2001:db8::6"),
			"IPv6 default route is now from 2001:db8::6",
		},
		{"no way out", state(eth).by("eth0", "10.0.0.1", "10.0.0.2"), state(eth), "default route is gone"},
		{
			"many addresses",
			State{},
			state(on("eth0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6")),
			"eth0 got 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 2 more",
		},
	} {
		if got := tt.before.Diff(tt.after); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got, want := tt.before.Equal(tt.after), tt.want == ""; got != want {
			t.Errorf("%s: Equal %v, want %v", tt.name, got, want)
		}
		if back := tt.after.Diff(tt.before); (back == "") != (tt.want == "") {
			t.Errorf("%s: and back %q: a change matters in both directions or in none", tt.name, back)
		}
	}
}

func TestDiffIsShort(t *testing.T) {
	var many []Interface
	for i := range 1000 {
		many = append(many, on(fmt.Sprintf("veth%03d", i), fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)))
	}
	got := State{}.Diff(state(many...))
	if !strings.HasSuffix(got, "; and 995 changes more") || len(got) > 200 {
		t.Errorf("got %q, want five changes and a count", got)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	a := state(on("eth0", "10.0.0.2"))
	b := a.clone()
	b.Interfaces[0].Addrs[0] = netip.MustParseAddr("10.0.0.3")
	b.Interfaces[0].Name = "eth1"
	if d := a.Diff(state(on("eth0", "10.0.0.2"))); d != "" {
		t.Errorf("the original has changed with its copy: %s", d)
	}
}
