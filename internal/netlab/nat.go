// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"

	"github.com/seed-98f0d4c2/runnel/internal/netlab/nat"
)

// NATConfig describes a NAT in detail, where the kinds of [NAT] are not enough. Its zero value is a full cone.
type NATConfig = nat.Config

// What NATConfig.Mapping and Filtering may be (RFC 4787 §4.1, §5).
const (
	EndpointIndependent     = nat.EndpointIndependent
	AddressDependent        = nat.AddressDependent
	AddressAndPortDependent = nat.AddressAndPortDependent
)

// What NATConfig.Ports may be (RFC 4787 §4.2).
const (
	Sequential = nat.Sequential
	Random     = nat.Random
	Preserving = nat.Preserving
)

// NATStats counts what a NAT did.
type NATStats = nat.Stats

// NAT is what stands between a host and the internet.
type NAT uint8

// The kinds of NAT, with the behaviours that RFC 4787 §4.1 and §5 call mapping and filtering. They hand out ports in
// sequence unless it says otherwise.
const (
	// Public is no NAT: the host has a public address and anybody can reach it.
	Public NAT = iota
	// FullCone: endpoint-independent mapping and filtering.
	FullCone
	// AddressRestricted: endpoint-independent mapping, address-dependent filtering.
	AddressRestricted
	// PortRestricted: endpoint-independent mapping, address- and port-dependent filtering. Most homes have one.
	PortRestricted
	// Symmetric: address- and port-dependent mapping and filtering. A port can be predicted from the one before.
	Symmetric
	// SymmetricRandom: as Symmetric, but ports are drawn at random from 1024 to 65535. Many mobile networks have one.
	SymmetricRandom
)

var natNames = [...]string{
	"public", "full-cone", "address-restricted", "port-restricted", "symmetric", "symmetric-random",
}

func (n NAT) String() string {
	if int(n) < len(natNames) {
		return natNames[n]
	}
	return fmt.Sprintf("NAT(%d)", uint8(n))
}

// Config returns what a NAT of this kind does; Public is none and has the zero value.
func (n NAT) Config() NATConfig {
	switch n {
	case AddressRestricted:
		return NATConfig{Filtering: AddressDependent}
	case PortRestricted:
		return NATConfig{Filtering: AddressAndPortDependent}
	case Symmetric:
		return NATConfig{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent}
	case SymmetricRandom:
		return NATConfig{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: Random}
	default:
		return NATConfig{}
	}
}
