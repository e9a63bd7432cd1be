// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package nat

import (
	"errors"
	"fmt"
	"time"
)

// ErrConfig is a value out of its range.
var ErrConfig = errors.New("nat: bad configuration")

// Dependence says on what part of the remote endpoint mapping or filtering depends (RFC 4787 §4.1, §5).
type Dependence uint8

// The three behaviours that RFC 4787 names.
const (
	EndpointIndependent Dependence = iota
	AddressDependent
	AddressAndPortDependent
)

// Ports says how outside ports are chosen (RFC 4787 §4.2).
type Ports uint8

// The ways to choose.
const (
	// Sequential hands out one port after the other, Config.Step apart.
	Sequential Ports = iota
	// Random draws from 1024 to 65535, uniformly, by Config.Seed.
	Random
	// Preserving uses the inside port if it is free outside, else the next free one above it. After a restart a host
	// that was alone gets the port it had.
	Preserving
)

// Config describes a translator. The zero value is a full cone with sequential ports.
type Config struct {
	Mapping   Dependence
	Filtering Dependence
	Ports     Ports
	// Step lies between two sequential ports, 1 to 1024. Zero means 1.
	Step int
	// Lifetime is how long a mapping lives after the last outbound packet, and the permission of a remote endpoint after
	// the last packet to it. Zero means 30 s.
	Lifetime time.Duration
	// RefreshInbound lets inbound packets prolong both, too (RFC 4787 REQ-6b).
	RefreshInbound bool
	// Hairpin lets hosts behind the NAT reach each other by their outside endpoints (RFC 4787 §6).
	Hairpin bool
	// MaxMappings is how many mappings there can be at one time, MaxSessions how many pairs of a mapping and a remote
	// endpoint that it has permitted. A packet that needs one more is dropped. Zero means 16384 and 65536, which are
	// the most.
	MaxMappings, MaxSessions int
	// NewPerSecond is how many sessions may begin in a second, in one go or spread. A packet that would begin one more
	// is dropped. Zero means any number.
	NewPerSecond int
	// Background is how many sequential ports a second other hosts use up, on average, at random moments.
	Background float64
	// Seed is the source of chance.
	Seed uint64
}

// The bounds of a table.
const (
	maxMappings = 16384
	maxSessions = 65536
)

// Check returns an error that is ErrConfig when a value is out of range.
func (c *Config) Check() error {
	if c.Mapping > AddressAndPortDependent || c.Filtering > AddressAndPortDependent || c.Ports > Preserving ||
		c.Step < 0 || c.Step > 1024 || c.Lifetime < 0 || c.MaxMappings < 0 || c.MaxMappings > maxMappings ||
		c.MaxSessions < 0 || c.MaxSessions > maxSessions || c.NewPerSecond < 0 || !(c.Background >= 0 && c.Background < 1e6) {
		return fmt.Errorf("%w: %+v", ErrConfig, *c)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Step == 0 {
		c.Step = 1
	}
	if c.Lifetime == 0 {
		c.Lifetime = 30 * time.Second
	}
	if c.MaxMappings == 0 {
		c.MaxMappings = maxMappings
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = maxSessions
	}
	return c
}
