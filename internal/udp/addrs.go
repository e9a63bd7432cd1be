// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"fmt"
	"net"
	"net/netip"
)

// MaxLocalAddrs is the most addresses LocalAddrs returns. Hosts of many containers have hundreds, and a peer would
// be told, and would try, every one.
const MaxLocalAddrs = 16

// LocalAddrs returns the addresses of this host that a peer may be able to reach: the unicast addresses of all
// interfaces that are up, IPv4 and IPv6, private ranges included.
//
// IPv6 link-local addresses are left out because they mean nothing without our zone. IPv4 link-local addresses
// (169.254.0.0/16) are only returned if there is nothing else, and loopback addresses only if there are not even
// those: two programs on a host without any network then still find each other.
func LocalAddrs() ([]netip.Addr, error) {
	nets, err := interfaceNets()
	if err != nil {
		return nil, err
	}
	all := make([]netip.Addr, len(nets))
	for i, n := range nets {
		all[i] = n.Addr()
	}
	return usable(all), nil
}

// LocalPrefixes returns the networks that this host's interfaces are on, as far as they are up.
func LocalPrefixes() ([]netip.Prefix, error) {
	nets, err := interfaceNets()
	for i, n := range nets {
		nets[i] = n.Masked()
	}
	return nets, err
}

// interfaceNets returns the addresses of all interfaces that are up, each with the length of its network's prefix.
func interfaceNets() ([]netip.Prefix, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("udp: interfaces: %w", err)
	}
	var all []netip.Prefix
	for _, i := range ifaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface has gone meanwhile
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			ones, bits := n.Mask.Size()
			if ip = ip.Unmap(); ok && bits == ip.BitLen() {
				all = append(all, netip.PrefixFrom(ip, ones))
			}
		}
	}
	return all, nil
}

// usable makes the choice that LocalAddrs documents, keeping the order.
func usable(all []netip.Addr) []netip.Addr {
	var best, linkLocal, loopback []netip.Addr
	seen := make(map[netip.Addr]bool)
	for _, a := range all {
		if seen[a] {
			continue
		}
		seen[a] = true
		switch {
		case a.IsLoopback():
			loopback = append(loopback, a)
		case a.IsLinkLocalUnicast():
			if a.Is4() {
				linkLocal = append(linkLocal, a)
			}
		case a.IsGlobalUnicast(): // private and unique local addresses count as such
			best = append(best, a)
		}
	}
	for _, s := range [][]netip.Addr{best, linkLocal, loopback} {
		if len(s) > 0 {
			return s[:min(len(s), MaxLocalAddrs)]
		}
	}
	return nil
}
