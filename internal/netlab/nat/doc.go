// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package nat is a network address translator for virtual networks: a pure machine that is told which packets want to
// pass and when, and says as what, or that they do not. Its words are those of RFC 4787.
//
//	n := nat.New(netip.MustParseAddr("5.0.0.1"), &nat.Config{Filtering: nat.AddressAndPortDependent, Ports: nat.Random})
//	outside, ok := n.Out(now, inside, remote) // a packet leaves: its source becomes outside
//	inside, ok := n.In(now, remote, outside)  // a packet comes: its destination becomes inside
//
// The same machine with [NewFirewall] is a stateful packet filter, which lets in only what answers, and changes nothing.
//
// # Limitations
//
// One outside address; each outside port belongs to one mapping (no port overloading). No fragments, no ICMP.
package nat
