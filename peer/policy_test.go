// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import "github.com/seed-98f0d4c2/runnel/peer"

// everybody is a Config.Addresses that treats all peers alike.
func everybody(p peer.AddressPolicy) func(peer.ID) peer.AddressPolicy {
	return func(peer.ID) peer.AddressPolicy { return p }
}
