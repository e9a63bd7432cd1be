// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/condition"
	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/internal/relay"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A NAT says what kind of network address translator stands between an endpoint and the internet (RFC 4787).
type NAT = netlab.NAT

// The kinds of NAT, from the most to the least permissive.
const (
	Public            = netlab.Public            // none
	FullCone          = netlab.FullCone          // endpoint-independent mapping and filtering
	AddressRestricted = netlab.AddressRestricted // filters by address
	PortRestricted    = netlab.PortRestricted    // filters by address and port
	Symmetric         = netlab.Symmetric         // maps and filters by address and port; ports in sequence
	SymmetricRandom   = netlab.SymmetricRandom   // the same with random ports
)

// A Config describes a [Network]. The zero value is a fast and perfect one.
type Config struct {
	// OneWay is how long a packet takes from a host to the core of the network. Between two hosts it takes twice
	// that. The rendezvous and the relay stand at the core.
	OneWay time.Duration

	// Jitter is added to OneWay at random. It reorders packets.
	Jitter time.Duration

	// Loss is the probability from 0 to 1 that a packet is lost on the way to the core, and again from it.
	Loss float64

	// Seed makes delay and loss reproducible.
	Seed uint64

	// NoRelay leaves the relay out; there is a STUN server all the same.
	NoRelay bool
}

// A Network is a virtual internet with a rendezvous and, unless told otherwise, a relay.
type Network struct {
	t   testing.TB
	lab *netlab.Network
	hub *signaling.Hub

	relay netip.AddrPort
}

// New starts a network that is stopped when the test ends. A nil c means the zero Config.
func New(t testing.TB, c *Config) *Network {
	t.Helper()
	if c == nil {
		c = &Config{}
	}
	lab, err := netlab.New(&netlab.Config{OneWay: c.OneWay, Jitter: c.Jitter, Loss: c.Loss, Seed: c.Seed})
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{t: t, lab: lab, hub: signaling.NewHub(&signaling.HubConfig{Delay: c.OneWay})}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	services := n.startRelay()
	if c.NoRelay {
		services.Relays = nil
	}
	n.hub.SetServices(services)
	return n
}

// Endpoint starts an endpoint on a host of its own behind a NAT of the given kind. A nil c means the zero Config;
// Key, Network and Signaler are filled in where they are nil. The endpoint is closed when the test ends.
func (n *Network) Endpoint(nat NAT, c *peer.Config) *peer.Endpoint {
	n.t.Helper()
	return n.Host(nat).Endpoint(c)
}

// A Host is a computer on the network.
type Host struct {
	n *Network
	h *netlab.Host
}

// Host adds a host behind a NAT of its own of the given kind.
func (n *Network) Host(nat NAT) *Host {
	n.t.Helper()
	h, err := n.lab.AddHost(nat)
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
		cfg.Signaler = h.n.hub.Join(signaling.IDFromKey(cfg.Key))
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

// Addr is the address at which the internet sees the host.
func (h *Host) Addr() netip.Addr { return h.h.PublicAddr() }

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

// MoveTo brings the host to another network, behind a NAT of its own of the given kind, as when a phone leaves the house:
// its addresses are others, and the endpoint is told so. The endpoint's sockets stay open. Link conditions that were set
// stay with the old network.
func (h *Host) MoveTo(nat NAT) {
	h.n.t.Helper()
	if err := h.h.MoveTo(nat); err != nil {
		h.n.t.Error(err)
	}
}

// Detach takes the host off its network: sends fail, and the endpoint is told that it has no address. Attach brings it
// back to where it was; MoveTo brings it elsewhere. For a hole that nobody is told of see SetDown.
func (h *Host) Detach() { h.h.Detach() }

// Attach undoes Detach.
func (h *Host) Attach() {
	h.n.t.Helper()
	if err := h.h.Attach(); err != nil {
		h.n.t.Error(err)
	}
}

// SetDown cuts the host's link, or mends it. Packets vanish without an error.
func (h *Host) SetDown(down bool) { h.h.SetDown(down) }

// SetLoss sets the probability that a packet is lost on the host's link, in each direction.
func (h *Host) SetLoss(p float64) { h.h.SetLoss(p) }

// Condition makes the host's link bad, at once and until it is called again: up is the way from the host, down the way
// to it. Conditions come on top of what [Config] says, and the zero value takes them away. Hosts behind the same NAT
// share the link; what they send to each other does not cross it. Chance depends on Config.Seed and Conditions.Seed.
func (h *Host) Condition(up, down peer.Conditions) {
	h.h.SetConditions(condition.Settings(up), condition.Settings(down))
}

// Condition makes the way of packets from one host to another bad, and no other way, at once and until it is called
// again. The two must not be behind the same NAT. What goes through the relay does not take this way.
func (n *Network) Condition(from, to *Host, c peer.Conditions) {
	n.t.Helper()
	if err := n.lab.SetConditions(from.h, to.h, condition.Settings(c)); err != nil {
		n.t.Error(err)
	}
}

// A Packet is a datagram at the core of the network, after the sender's NAT and before the receiver's.
type Packet = netlab.Packet

// A Verdict is what a tap does with a packet.
type Verdict = netlab.Verdict

// The verdicts.
const (
	Pass      = netlab.Pass      // it goes on
	Duplicate = netlab.Duplicate // it goes on twice
	Drop      = netlab.Drop      // it goes no further
)

// Tap shows every packet that crosses the core of the network to f, which decides what becomes of it. f may change
// the payload but must not keep it. The returned function removes the tap.
func (n *Network) Tap(f func(Packet) Verdict) (remove func()) { return n.lab.Tap(f) }

// Inject puts a packet into the network with whatever source address it says, as an attacker would.
func (n *Network) Inject(p Packet) {
	n.t.Helper()
	if err := n.lab.Inject(p); err != nil {
		n.t.Error(err)
	}
}

// Relay returns the address of the relay and STUN server.
func (n *Network) Relay() netip.AddrPort { return n.relay }

// Hub returns the rendezvous.
func (n *Network) Hub() *signaling.Hub { return n.hub }

const (
	relayPort   = 3478
	relaySecret = "peertest relay secret"
)

// startRelay starts a relay, which is a STUN server too, on a host at the core, and returns how to reach it.
func (n *Network) startRelay() signaling.Services {
	n.t.Helper()
	h, err := n.lab.AddHostWith(netlab.HostConfig{NAT: netlab.Public})
	if err != nil {
		n.t.Fatal(err)
	}
	listen := func(port int) (net.PacketConn, error) {
		return h.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(h.PublicAddr(), uint16(port)))
	}
	pc, err := listen(relayPort)
	if err != nil {
		n.t.Fatal(err)
	}
	srv, err := relay.New(&relay.Config{
		PacketConns: []net.PacketConn{pc},
		RelayIP:     h.PublicAddr(),
		ListenRelay: listen,
		HostAddrs:   func() []netip.Addr { return nil }, // those of the machine that runs the test mean nothing here
		Secrets:     []string{relaySecret},
		MaxPerUser:  -1,
		AnswerRate:  -1,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	n.t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			n.t.Error(err)
		}
		if err := <-served; !errors.Is(err, relay.ErrClosed) {
			n.t.Error(err)
		}
	})
	user, credential := relay.Credential(relaySecret, "peertest", time.Now().Add(24*time.Hour))
	n.relay = netip.AddrPortFrom(h.PublicAddr(), relayPort)
	addr := n.relay.String()
	return signaling.Services{
		STUN:   []string{addr},
		Relays: []signaling.Relay{{URL: "turn:" + addr + "?transport=udp", Username: user, Credential: credential}},
	}
}
