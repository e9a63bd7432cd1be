// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Bodies of rtnetlink(7) messages: a fixed struct, and attributes behind it.

// wideRoute is the longest prefix of a route that can be taken for a way out: 0.0.0.0/1 and 128.0.0.0/1 are what VPNs set,
// 2000::/3 is all of the IPv6 internet. What is longer comes and goes in numbers on routers and hosts of containers.
const wideRoute = 8

// matters says whether a message may be about what is watched.
func matters(typ uint16, body []byte) bool {
	switch typ {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(body) < unix.SizeofRtMsg {
			return false
		}
		length, flags := body[1], binary.NativeEndian.Uint32(body[8:])
		return length <= wideRoute && flags&unix.RTM_F_CLONED == 0
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return true
	}
	return false
}

// linkRequest is the body of RTM_GETLINK, for all links.
func linkRequest() []byte {
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS: they are most of a message
	b := make([]byte, unix.SizeofIfInfomsg)
	return appendAttr(b, unix.IFLA_EXT_MASK, binary.NativeEndian.AppendUint32(nil, skipStats))
}

// addrRequest is the body of RTM_GETADDR, for all addresses.
func addrRequest() []byte { return make([]byte, unix.SizeofIfAddrmsg) }

// routeRequest is the body of RTM_GETROUTE that asks how packets to one address would go.
func routeRequest(dest netip.Addr) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1] = unix.AF_INET, uint8(dest.BitLen())
	if dest.Is6() {
		b[0] = unix.AF_INET6
	}
	return appendAttr(b, unix.RTA_DST, dest.AsSlice())
}

// appendAttr appends an attribute whose value is a multiple of 4 bytes long.
func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	return append(b, value...)
}

// parseState makes a state of the bodies of the messages that list links and addresses. What it cannot read it leaves
// out. It also returns the names of the interfaces by index.
func parseState(links, addrs [][]byte) (State, map[uint32]string) {
	var s State
	index := make(map[uint32]int)
	names := make(map[uint32]string)
	for _, b := range links {
		i, iface, ok := parseLink(b)
		if _, again := index[i]; !ok || again {
			continue
		}
		index[i], names[i] = len(s.Interfaces), iface.Name
		s.Interfaces = append(s.Interfaces, iface)
	}
	for _, b := range addrs {
		i, addr, ok := parseAddr(b)
		n, known := index[i]
		if ok && known && !slices.Contains(s.Interfaces[n].Addrs, addr) {
			s.Interfaces[n].Addrs = append(s.Interfaces[n].Addrs, addr)
		}
	}
	return s, names
}

// parseLink reads a struct ifinfomsg: family, pad, type, index, flags, change.
func parseLink(b []byte) (index uint32, i Interface, ok bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return 0, i, false
	}
	index = binary.NativeEndian.Uint32(b[4:])
	flags := binary.NativeEndian.Uint32(b[8:])
	i.Loopback = flags&unix.IFF_LOOPBACK != 0
	i.Up = flags&unix.IFF_UP != 0
	i.Running = flags&unix.IFF_RUNNING != 0
	ok = eachAttr(b[unix.SizeofIfInfomsg:], func(typ uint16, ad *netlink.AttributeDecoder) {
		if typ == unix.IFLA_IFNAME {
			i.Name = ad.String()
		}
	})
	return index, i, ok && i.Name != ""
}

// unready are the flags of an address that new packets do not come from: it is not known yet whether it is ours alone, it
// is not, or there are better ones now. An optimistic address (RFC 4429) is tentative and good.
const unready = unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED

// parseAddr reads a struct ifaddrmsg: family, prefix length, flags, scope, index.
func parseAddr(b []byte) (index uint32, addr netip.Addr, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, addr, false
	}
	flags := uint32(b[2]) // only the low bits; the attribute has all
	index = binary.NativeEndian.Uint32(b[4:])
	var local, address netip.Addr
	ok = eachAttr(b[unix.SizeofIfAddrmsg:], func(typ uint16, ad *netlink.AttributeDecoder) {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.IFA_FLAGS:
			flags = ad.Uint32()
		}
	})
	if !local.IsValid() { // with a point-to-point link the other one is the peer's
		local = address
	}
	tentative := flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	return index, local, ok && local.IsValid() && !tentative && flags&unready == 0
}

// parseRoute reads a struct rtmsg: family, destination and source length, TOS, table, protocol, scope, type, flags.
func parseRoute(b []byte, names map[uint32]string) Route {
	if len(b) < unix.SizeofRtMsg || b[7] != unix.RTN_UNICAST {
		return Route{}
	}
	var r Route
	ok := eachAttr(b[unix.SizeofRtMsg:], func(typ uint16, ad *netlink.AttributeDecoder) {
		switch typ {
		case unix.RTA_OIF:
			r.Interface = names[ad.Uint32()]
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_VIA: // a gateway of the other family: struct rtvia
			if v := ad.Bytes(); len(v) > 2 {
				r.Gateway, _ = netip.AddrFromSlice(v[2:])
			}
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(ad.Bytes())
		}
	})
	if !ok {
		return Route{}
	}
	return r
}

// eachAttr calls f for every attribute. It reports false if they cannot be read.
func eachAttr(b []byte, f func(typ uint16, ad *netlink.AttributeDecoder)) bool {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return false
	}
	for ad.Next() {
		f(ad.Type(), ad)
	}
	return ad.Err() == nil
}
