// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package mobilitylab measures in virtual time what becomes of a session whose network changes: how long nothing is
// delivered when a NAT forgets, a host changes its network, an outage ends or a relay dies, and how soon two NATs let a
// direct path through. It has tests only. `make test` runs every case with a few seeds and holds it to its bound;
// `make bench-mobility` runs fifty of each and writes the table of docs/TESTING.md.
//
//	go test ./internal/mobilitylab -run 'TestMobility/switch' -runs 10 -table -
//
// # Limitations
//
// Links have no bandwidth. The rendezvous is the in-memory hub of package signaling, reconnected as soon as the host has
// a network again.
package mobilitylab
