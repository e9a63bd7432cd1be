// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest

import "github.com/seed-98f0d4c2/runnel/internal/netlab"

// A NATConfig describes a NAT in detail, where the kinds of [NAT] are not enough (RFC 4787). The zero value maps and filters
// independently of the endpoint, hands out ports in sequence, does no hairpinning and forgets after 30 s.
type NATConfig = netlab.NATConfig

// What NATConfig.Mapping and NATConfig.Filtering may be.
const (
	EndpointIndependent     = netlab.EndpointIndependent
	AddressDependent        = netlab.AddressDependent
	AddressAndPortDependent = netlab.AddressAndPortDependent
)

// What NATConfig.Ports may be.
const (
	Sequential = netlab.Sequential // Step apart
	Random     = netlab.Random     // from 1024 to 65535
	Preserving = netlab.Preserving // as inside, if it is free
)

// IPv6 says which address families a [Site] has.
type IPv6 = netlab.IPv6

// The families of a site.
const (
	OnlyIPv4  = netlab.OnlyIPv4
	DualStack = netlab.DualStack
	OnlyIPv6  = netlab.OnlyIPv6
)

// A Site is where a host is on the internet. Its link is as [Config] says. The zero value is a public IPv4 address.
type Site struct {
	NAT NAT

	// NATConfig, if not nil, describes the NAT instead of NAT.
	NATConfig *NATConfig

	// Behind puts the site, with its NAT, on the private network of another host: two translations, as behind a
	// carrier's NAT. There must be a NAT.
	Behind *Host

	// IPv6 is which address families there are. IPv6 addresses are global and are not translated.
	IPv6 IPv6

	// Firewall lets nobody send to an untranslated address but those to whom something was sent from it within 30 s.
	Firewall bool

	// BlockUDP drops every UDP packet on the way to the internet or back.
	BlockUDP bool
}

func (n *Network) config(s Site) netlab.HostConfig {
	c := netlab.HostConfig{NAT: s.NAT, NATConfig: s.NATConfig, IPv6: s.IPv6, BlockUDP: s.BlockUDP}
	if s.Firewall {
		c.Firewall = &netlab.NATConfig{Filtering: netlab.AddressAndPortDependent}
	}
	if s.Behind != nil {
		c.Behind = s.Behind.h
	} else {
		c.OneWay, c.Jitter, c.Loss = n.cfg.OneWay, n.cfg.Jitter, n.cfg.Loss
	}
	return c
}
