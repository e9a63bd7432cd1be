// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/vnetx"
)

// NAT is what stands between a host and the internet.
type NAT uint8

// The kinds of NAT, with the behaviours that RFC 4787 §4.1 and §5 call mapping and filtering.
const (
	// Public is no NAT: the host has a public address and anybody can reach it.
	Public NAT = iota
	// FullCone: endpoint-independent mapping and filtering.
	FullCone
	// AddressRestricted: endpoint-independent mapping, address-dependent filtering.
	AddressRestricted
	// PortRestricted: endpoint-independent mapping, address- and port-dependent filtering. Most homes have one.
	PortRestricted
	// Symmetric: address- and port-dependent mapping and filtering. Ports are handed out in sequence.
	Symmetric
)

var natNames = [...]string{"public", "full-cone", "address-restricted", "port-restricted", "symmetric"}

func (n NAT) String() string {
	if int(n) < len(natNames) {
		return natNames[n]
	}
	return fmt.Sprintf("NAT(%d)", uint8(n))
}

func (n NAT) behaviour() (mapping, filtering vnetx.Dependence) {
	switch n {
	case AddressRestricted:
		return vnetx.Independent, vnetx.Address
	case PortRestricted:
		return vnetx.Independent, vnetx.AddressAndPort
	case Symmetric:
		return vnetx.AddressAndPort, vnetx.AddressAndPort
	default:
		return vnetx.Independent, vnetx.Independent
	}
}
