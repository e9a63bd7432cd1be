// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest

import (
	"net/netip"
	"slices"

	"github.com/seed-98f0d4c2/runnel/internal/condition"
	"github.com/seed-98f0d4c2/runnel/peer"
)

// Rebind makes the host's NAT forget its mappings, as one does when it restarts: packets from the host go out by
// new ports from now on, and packets to the old ones are dropped.
func (h *Host) Rebind() {
	h.n.t.Helper()
	if err := h.h.Rebind(); err != nil {
		h.n.t.Error(err)
	}
}

// Renumber gives the host's site another public address, as a provider does that reconnects a line. Behind a NAT the host
// is not told of it.
func (h *Host) Renumber() {
	h.n.t.Helper()
	if err := h.h.Renumber(); err != nil {
		h.n.t.Error(err)
	}
}

// SetLoss sets the probability that a packet is lost on the host's link, in each direction.
func (h *Host) SetLoss(p float64) { h.h.SetLoss(p) }

// Condition makes the host's link bad, at once and until it is called again: up is the way from the host, down the way
// to it. Conditions come on top of what [Config] says, and the zero value takes them away. Hosts behind the same NAT
// share the link; what they send to each other does not cross it. Chance depends on Config.Seed and Conditions.Seed.
func (h *Host) Condition(up, down peer.Conditions) {
	h.h.SetConditions(condition.Settings(up), condition.Settings(down))
}

// MoveTo brings the host to another network, behind a NAT of its own of the given kind, as when a phone leaves the house:
// its addresses are others, and the endpoint is told so. The endpoint's sockets stay open, the rendezvous stays connected.
// Conditions and losses that were set stay with the old network. To make a hole, Detach before.
func (h *Host) MoveTo(nat NAT) {
	h.n.t.Helper()
	h.MoveToSite(Site{NAT: nat})
}

// MoveToSite is MoveTo for any site.
func (h *Host) MoveToSite(s Site) {
	h.n.t.Helper()
	h.connect(func() {
		h.detached = false
		if err := h.h.MoveWith(h.n.config(s)); err != nil {
			h.n.t.Error(err)
		}
	})
}

// MoveNextTo brings the host to the local network of another one, behind the same NAT.
func (h *Host) MoveNextTo(other *Host) {
	h.n.t.Helper()
	h.connect(func() {
		h.detached = false
		if err := h.h.MoveBehind(other.h); err != nil {
			h.n.t.Error(err)
		}
	})
}

// AddUplink connects the host to a second network while it keeps the first, and returns the host's address there. Packets
// are accepted by both; they go out by the first until SetUplink says otherwise.
func (h *Host) AddUplink(s Site) netip.Addr {
	h.n.t.Helper()
	a, err := h.h.AddInterface(h.n.config(s))
	if err != nil {
		h.n.t.Fatal(err)
	}
	return a
}

// SetUplink sends packets out by the network on which the host has that address. The endpoint is told that routes have
// changed, while both addresses are still good.
func (h *Host) SetUplink(a netip.Addr) {
	h.n.t.Helper()
	if err := h.h.SetDefault(a); err != nil {
		h.n.t.Error(err)
	}
}

// RemoveUplink takes the network away on which the host has that address.
func (h *Host) RemoveUplink(a netip.Addr) {
	h.n.t.Helper()
	if err := h.h.RemoveInterface(a); err != nil {
		h.n.t.Error(err)
	}
}

// LocalAddrs are the host's own addresses at present, which are private behind a NAT.
func (h *Host) LocalAddrs() []netip.Addr {
	h.n.t.Helper()
	addrs, err := h.h.LocalAddrs()
	if err != nil {
		h.n.t.Error(err)
	}
	return addrs
}

// Detach takes the host off its network: sends fail, the rendezvous cannot be reached, and the endpoint is told that it
// has no address. Attach brings it back to where it was; MoveTo brings it elsewhere. For a hole that nobody is told of see
// SetOffline.
func (h *Host) Detach() {
	h.connect(func() {
		h.detached = true
		h.h.Detach()
	})
}

// Attach undoes Detach: same addresses, and the NAT knows the host unless its mappings have expired.
func (h *Host) Attach() {
	h.n.t.Helper()
	h.connect(func() {
		h.detached = false
		if err := h.h.Attach(); err != nil {
			h.n.t.Error(err)
		}
	})
}

// SetDown cuts the host's link, or mends it. Packets vanish without an error, and the endpoint is not told. The rendezvous
// can still be reached; see SetOffline.
func (h *Host) SetDown(down bool) { h.h.SetDown(down) }

// SetOffline is SetDown for everything: the rendezvous cannot be reached either.
func (h *Host) SetOffline(offline bool) {
	h.connect(func() {
		h.offline = offline
		h.h.SetDown(offline)
	})
}

// connect makes a change, after which the host's endpoints can reach the rendezvous if the host has a network.
func (h *Host) connect(change func()) {
	h.n.t.Helper()
	h.mu.Lock()
	change()
	ids, away := slices.Clone(h.ids), h.offline || h.detached
	h.mu.Unlock()
	for _, id := range ids {
		h.n.hub.SetAway(id, away)
	}
}
