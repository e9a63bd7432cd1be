// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Errors of this package.
var (
	ErrConfig = errors.New("netlab: bad configuration")
	ErrClosed = errors.New("netlab: network closed")
)

// maxSites is how many sites the address plan has room for.
const maxSites = 1 << 16

// Config describes a network. The zero value is a network without delay or loss.
type Config struct {
	// OneWay is the delay of each host's link to the core, in one direction. Two hosts are 4×OneWay of round trip
	// apart. Zero means none; negative is an error.
	OneWay time.Duration
	// Jitter is the longest extra delay of a packet on each link, uniformly distributed; it reorders packets.
	// Zero means none; negative is an error.
	Jitter time.Duration
	// Loss is the probability, 0 to 1, that a link loses a packet, in each direction of each link.
	Loss float64
	// Seed decides which packets are lost or delayed.
	Seed uint64
	// MappingLifetime is how long a NAT remembers a mapping after the last outbound packet. Zero means 30 s.
	MappingLifetime time.Duration
	// Log gets changes of the network (hosts, cuts, reboots) at debug level. Nil discards.
	Log *slog.Logger
}

// Network is a virtual internet. Its methods may be called from any goroutine.
type Network struct {
	cfg  Config
	log  *slog.Logger
	done chan struct{} // closed by Close
	gone chan struct{} // closed when the core's goroutine has ended
	wake chan struct{}

	stats counters

	mu     sync.Mutex
	closed bool
	sites  []*site
	hosts  []*Host
	byAddr map[netip.Addr]*site
	loss   float64 // for hosts added from now on
	inbox  []inbound
	taps   []*tap

	between map[flowKey]*badLink
	groups  groups

	core core // owned by the core's goroutine
}

// New makes a network and starts its core. Close it, before the end of a synctest bubble.
func New(c *Config) (*Network, error) {
	if c == nil {
		c = &Config{}
	}
	if c.OneWay < 0 || c.Jitter < 0 || c.MappingLifetime < 0 || !probability(c.Loss) {
		return nil, fmt.Errorf("%w: negative duration, or loss outside 0 to 1", ErrConfig)
	}
	n := &Network{
		cfg:    *c,
		log:    c.Log,
		done:   make(chan struct{}),
		gone:   make(chan struct{}),
		wake:   make(chan struct{}, 1),
		byAddr: make(map[netip.Addr]*site),
		loss:   c.Loss,
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.core.flows = make(map[flowKey]*flow)
	go n.run()
	return n, nil
}

// Close stops the network and closes every socket on it. Packets on their way are lost. No goroutine is left.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	close(n.done)
	hosts := slices.Clone(n.hosts)
	n.mu.Unlock()

	<-n.gone
	for _, h := range hosts {
		h.closeAll()
	}
	return nil
}

func (n *Network) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// SetLoss sets the loss of every link, in each direction, for packets that enter the core from now on.
func (n *Network) SetLoss(p float64) {
	n.mu.Lock()
	n.loss = clampProbability(p)
	sites := slices.Clone(n.sites)
	n.mu.Unlock()
	for _, s := range sites {
		s.link.setLoss(p)
	}
}

func probability(p float64) bool { return p >= 0 && p <= 1 } // false for NaN

func clampProbability(p float64) float64 {
	if !(p > 0) { // also NaN
		return 0
	}
	return min(p, 1)
}
