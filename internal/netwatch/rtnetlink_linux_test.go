// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func linkBody(index, flags uint32, name string) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], index)
	binary.NativeEndian.PutUint32(b[8:], flags)
	value := append([]byte(name), 0)
	for len(value)%4 != 0 {
		value = append(value, 0)
	}
	return appendAttr(b, unix.IFLA_IFNAME, value)
}

func addrBody(index, flags uint32, typ uint16, addr string) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[2] = byte(flags)
	binary.NativeEndian.PutUint32(b[4:], index)
	b = appendAttr(b, typ, netip.MustParseAddr(addr).AsSlice())
	return appendAttr(b, unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, flags))
}

func TestParseState(t *testing.T) {
	links := [][]byte{
		linkBody(1, unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_LOOPBACK, "lo"),
		linkBody(2, unix.IFF_UP|unix.IFF_RUNNING, "eth0"),
		linkBody(3, unix.IFF_UP, "wlan0"),
		linkBody(2, 0, "again"),
		{1, 2, 3},
	}
	ptp := addrBody(3, unix.IFA_F_PERMANENT, unix.IFA_ADDRESS, "10.9.0.1")
	ptp = appendAttr(ptp, unix.IFA_LOCAL, netip.MustParseAddr("10.9.0.2").AsSlice())
	addrs := [][]byte{
		addrBody(1, unix.IFA_F_PERMANENT, unix.IFA_LOCAL, "127.0.0.1"),
		addrBody(2, unix.IFA_F_PERMANENT, unix.IFA_LOCAL, "10.0.0.2"),
		addrBody(2, unix.IFA_F_PERMANENT, unix.IFA_LOCAL, "10.0.0.2"),
		addrBody(2, unix.IFA_F_TENTATIVE, unix.IFA_ADDRESS, "2001:db8::1"),
		addrBody(2, unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC, unix.IFA_ADDRESS, "2001:db8::2"),
		addrBody(2, unix.IFA_F_DEPRECATED|unix.IFA_F_TEMPORARY, unix.IFA_ADDRESS, "2001:db8::3"),
		addrBody(2, unix.IFA_F_TEMPORARY, unix.IFA_ADDRESS, "2001:db8::4"),
		addrBody(2, unix.IFA_F_DADFAILED|unix.IFA_F_TENTATIVE, unix.IFA_ADDRESS, "2001:db8::5"),
		addrBody(2, unix.IFA_F_MANAGETEMPADDR|unix.IFA_F_STABLE_PRIVACY, unix.IFA_ADDRESS, "2001:db8::6"),
		addrBody(99, 0, unix.IFA_ADDRESS, "2001:db8::7"),
		ptp,
		{},
	}
	s, names := parseState(links, addrs)
	lo := on("lo", "127.0.0.1")
	lo.Loopback = true
	want := state(lo, on("eth0", "10.0.0.2", "2001:db8::2", "2001:db8::4", "2001:db8::6"), unplugged(on("wlan0", "10.9.0.2")))
	if d := want.Diff(s.sorted()); d != "" || len(s.Interfaces) != 3 || !s.Interfaces[1].Loopback {
		t.Errorf("got %+v (%s), want %+v", s, d, want)
	}
	if names[2] != "eth0" || len(names) != 3 {
		t.Errorf("names %v, want three, the first of each index", names)
	}
}

func TestParseRoute(t *testing.T) {
	body := func(typ byte) []byte {
		b := make([]byte, unix.SizeofRtMsg)
		b[7] = typ
		b = appendAttr(b, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, 2))
		b = appendAttr(b, unix.RTA_PREFSRC, netip.MustParseAddr("10.0.0.2").AsSlice())
		return appendAttr(b, unix.RTA_GATEWAY, netip.MustParseAddr("10.0.0.1").AsSlice())
	}
	names := map[uint32]string{2: "eth0"}
	want := State{}.by("eth0", "10.0.0.1", "10.0.0.2").Default4
	if got := parseRoute(body(unix.RTN_UNICAST), names); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := parseRoute(body(unix.RTN_BLACKHOLE), names); got != (Route{}) {
		t.Errorf("got %+v for a black hole, want none", got)
	}
	via := make([]byte, unix.SizeofRtMsg)
	via[7] = unix.RTN_UNICAST
	via = appendAttr(via, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, 2))
	via = append(via, 22, 0, unix.RTA_VIA, 0, unix.AF_INET6, 0)
	via = append(via, netip.MustParseAddr("fe80::1").AsSlice()...)
	via = append(via, 0, 0)
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 { // the attribute above is written by hand
		if got := parseRoute(via, names); got.Gateway != netip.MustParseAddr("fe80::1") {
			t.Errorf("got %+v, want the gateway fe80::1 of an IPv4 route (RFC 5549)", got)
		}
	}
}

func TestMatters(t *testing.T) {
	route := func(length byte, flags uint32) []byte {
		b := make([]byte, unix.SizeofRtMsg)
		b[1] = length
		binary.NativeEndian.PutUint32(b[8:], flags)
		return b
	}
	for _, tt := range []struct {
		what string
		typ  uint16
		body []byte
		want bool
	}{
		{"default route", unix.RTM_NEWROUTE, route(0, 0), true},
		{"half of all", unix.RTM_DELROUTE, route(1, 0), true},
		{"a LAN", unix.RTM_NEWROUTE, route(24, 0), false},
		{"cached", unix.RTM_NEWROUTE, route(0, unix.RTM_F_CLONED), false},
		{"cut short", unix.RTM_NEWROUTE, []byte{1}, false},
		{"link", unix.RTM_NEWLINK, nil, true},
		{"address", unix.RTM_DELADDR, nil, true},
		{"rule", unix.RTM_NEWRULE, nil, true},
		{"neighbour", unix.RTM_NEWNEIGH, nil, false},
	} {
		if got := matters(tt.typ, tt.body); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(linkBody(2, 1, "eth0"), addrBody(2, 0x80, unix.IFA_LOCAL, "10.0.0.2"), routeRequest(public6))
	f.Add([]byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, link, addr, route []byte) {
		s, names := parseState([][]byte{link, link}, [][]byte{addr, addr})
		if len(s.Interfaces) > 1 || (len(s.Interfaces) == 1 && len(s.Interfaces[0].Addrs) > 1) {
			t.Errorf("got %+v of one link and one address", s)
		}
		s.Default4 = parseRoute(route, names)
		for typ := range uint16(64) {
			matters(typ, route)
		}
		if d := s.sorted().Diff(s.clone()); d != "" {
			t.Errorf("a state differs from itself: %s", d)
		}
	})
}
