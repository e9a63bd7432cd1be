// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

// Peer returns what the peer has said of its NAT, and whether it has said anything.
func (p *Puncher) Peer() (NATClass, bool) {
	if p.peer.Phase == 0 {
		return NATClass{}, false
	}
	return peerClass(&p.peer), true
}
