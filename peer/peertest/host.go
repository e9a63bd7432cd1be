// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A Host is a computer on the network.
type Host struct {
	n *Network
	h *netlab.Host

	mu       sync.Mutex
	ids      []signaling.PeerID // of its endpoints at the hub
	offline  bool
	detached bool
}

// Host adds a host behind a NAT of its own of the given kind.
func (n *Network) Host(nat NAT) *Host {
	n.t.Helper()
	return n.HostAt(Site{NAT: nat})
}

// HostAt adds a host at a site of its own.
func (n *Network) HostAt(s Site) *Host {
	n.t.Helper()
	h, err := n.lab.AddHostWith(n.config(s))
	if err != nil {
		n.t.Fatal(err)
	}
	return &Host{n: n, h: h}
}

// Neighbor adds a host on the same local network, behind the same NAT.
func (h *Host) Neighbor() *Host {
	h.n.t.Helper()
	other, err := h.n.lab.AddHostBehind(h.h)
	if err != nil {
		h.n.t.Fatal(err)
	}
	return &Host{n: h.n, h: other}
}

// Endpoint starts an endpoint on h. See [Network.Endpoint].
func (h *Host) Endpoint(c *peer.Config) *peer.Endpoint {
	t := h.n.t
	t.Helper()
	var cfg peer.Config
	if c != nil {
		cfg = *c
	}
	if cfg.Key == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Key = key
	}
	if cfg.Network == nil {
		cfg.Network = h.h.View() // each endpoint hears of every change
	}
	if cfg.Signaler == nil {
		id := signaling.IDFromKey(cfg.Key)
		cfg.Signaler = h.n.hub.Join(id)
		h.mu.Lock()
		h.ids = append(h.ids, id)
		h.mu.Unlock()
		h.connect(func() {})
	}
	e, err := peer.Listen(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = e.Close(ctx)
	})
	return e
}

// Network is what h has of the network, for a test that puts a [peer.Network] of its own before it.
func (h *Host) Network() peer.MulticastNetwork { return h.h.View() }

// Addr is the IPv4 address at which the internet sees the host; it is invalid where there is IPv6 only.
func (h *Host) Addr() netip.Addr { return h.h.PublicAddr() }
