// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"
	"net/netip"
	"time"
)

// IPv6 says which address families a site has.
type IPv6 uint8

// The families of a site.
const (
	OnlyIPv4 IPv6 = iota
	DualStack
	OnlyIPv6
)

// HostConfig describes the site of one host. Its values are literal: zero means no delay and no loss whatever the
// network's Config says.
type HostConfig struct {
	NAT NAT
	// NATConfig, if not nil, describes the NAT instead of NAT. A zero Lifetime is that of the network's Config.
	NATConfig *NATConfig
	// Behind puts the site, with its NAT, on the private network of another host, as a router behind a router or behind
	// a carrier's NAT is: two translations. The link to the core is the other's, so that OneWay, Jitter and Loss must be
	// zero; there must be a NAT.
	Behind *Host
	// LAN is the private network behind the NAT: an IPv4 prefix of 24 bits, which other sites may have too. Zero means
	// one that no other site has.
	LAN netip.Prefix
	// IPv6 is which address families the site has. IPv6 addresses are global: no NAT translates them.
	IPv6 IPv6
	// Firewall, if not nil, is a stateful firewall for addresses that are not translated: it lets in what Filtering says,
	// of those to whom something has gone out, within Lifetime. Its other fields but the limits mean nothing.
	Firewall *NATConfig
	// BlockUDP drops every UDP packet between the site and the outside. Hosts of the site still reach each other.
	BlockUDP bool

	OneWay time.Duration // of the host's link to the core
	Jitter time.Duration
	Loss   float64
}

// check returns what NAT and firewall do; nil if there is none.
func (c *HostConfig) check(lifetime time.Duration) (natCfg, wall *NATConfig, err error) {
	bad := c.OneWay < 0 || c.Jitter < 0 || !probability(c.Loss) || int(c.NAT) >= len(natNames) || c.IPv6 > OnlyIPv6 ||
		c.LAN.IsValid() && !(c.LAN.Addr().Is4() && c.LAN.Bits() == 24)
	if c.NATConfig != nil || c.NAT != Public {
		cfg := c.NAT.Config()
		if c.NATConfig != nil {
			cfg = *c.NATConfig
		}
		natCfg = &cfg
	}
	if c.Firewall != nil {
		cfg := *c.Firewall
		wall = &cfg
	}
	for _, cfg := range []*NATConfig{natCfg, wall} {
		if cfg == nil {
			continue
		}
		bad = bad || cfg.Check() != nil
		if cfg.Lifetime == 0 {
			cfg.Lifetime = lifetime
		}
	}
	if c.Behind != nil {
		bad = bad || natCfg == nil || c.OneWay != 0 || c.Jitter != 0 || c.Loss != 0
	}
	if bad {
		return nil, nil, fmt.Errorf("%w: host %+v", ErrConfig, c)
	}
	return natCfg, wall, nil
}
