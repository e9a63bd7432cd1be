// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest

import (
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/condition"
	"github.com/seed-98f0d4c2/runnel/internal/netlab"
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
	// that. The rendezvous and the relays stand at the core.
	OneWay time.Duration

	// Jitter is added to OneWay at random. It reorders packets.
	Jitter time.Duration

	// Loss is the probability from 0 to 1 that a packet is lost on the way to the core, and again from it.
	Loss float64

	// Seed makes delay and loss reproducible.
	Seed uint64

	// NoRelay leaves the relays out; there are STUN servers all the same.
	NoRelay bool

	// Relays is how many relays there are. If zero, there is one; it must not be negative.
	Relays int

	// RelayTCP lets relays be reached by TCP too, for hosts that have no UDP.
	RelayTCP bool

	// IPv6 gives the STUN servers and relays IPv6 addresses too, and advises them, so that hosts without IPv4 have some.
	// Relayed addresses are of IPv4 all the same.
	IPv6 bool
}

// A Network is a virtual internet with a rendezvous, two STUN servers and, unless told otherwise, a relay.
type Network struct {
	t   testing.TB
	lab *netlab.Network
	hub *signaling.Hub

	cfg    Config
	relays []*relayServer
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
	n := &Network{t: t, cfg: *c, lab: lab, hub: signaling.NewHub(&signaling.HubConfig{Delay: c.OneWay})}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	n.startServers()
	return n
}

// Endpoint starts an endpoint on a host of its own behind a NAT of the given kind. A nil c means the zero Config;
// Key, Network and Signaler are filled in where they are nil. The endpoint is closed when the test ends.
func (n *Network) Endpoint(nat NAT, c *peer.Config) *peer.Endpoint {
	n.t.Helper()
	return n.Host(nat).Endpoint(c)
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

// Hub returns the rendezvous.
func (n *Network) Hub() *signaling.Hub { return n.hub }
