// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package vnetx

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v2/vnet"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/logx"
)

// Errors of this package.
var (
	ErrConfig = errors.New("vnetx: bad configuration")
	ErrClosed = errors.New("vnetx: site closed")
)

// Dependence says on what part of the remote endpoint a NAT's mapping or filtering depends (RFC 4787 §4.1, §5).
type Dependence uint8

// The three behaviours RFC 4787 names.
const (
	Independent    Dependence = iota // endpoint-independent
	Address                          // address-dependent
	AddressAndPort                   // address- and port-dependent
)

func (d Dependence) pion() vnet.EndpointDependencyType {
	switch d {
	case Independent:
		return vnet.EndpointIndependent
	case Address:
		return vnet.EndpointAddrDependent
	default:
		return vnet.EndpointAddrPortDependent
	}
}

// Config describes a site.
type Config struct {
	// Public is the site's IPv4 address on the outside. Required.
	Public netip.Addr
	// NAT puts a NAT between Public and the hosts. Without it the site has one host, which holds Public itself,
	// and the next four fields mean nothing.
	NAT bool
	// LAN is the private network behind the NAT.
	LAN netip.Prefix
	// Mapping and Filtering are the NAT's behaviours.
	Mapping, Filtering Dependence
	// MappingLifetime is how long a mapping lives after the last outbound packet. Zero means 30 s.
	MappingLifetime time.Duration
	// Egress takes every packet that leaves the site; the payload belongs to it from then on. It is called
	// with locks held: it must not block and must not call the site. Required.
	Egress func(src, dst netip.AddrPort, payload []byte)
}

// Site is one place on the virtual internet. Its methods may be called from any goroutine.
type Site struct {
	cfg Config

	mu     sync.RWMutex // write: topology changes; read: packets on their way through the topology
	closed bool
	boot   uint64 // how often the NAT has been rebooted
	root   *vnet.Router
	nat    *vnet.Router // nil without NAT
	hosts  []*Host

	gateMu sync.Mutex                       // nests inside mu
	gates  map[netip.Addr]*vnet.Net         // the outside hosts, as the public router sees them
	gated  map[netip.AddrPort]*vnet.UDPConn // their sockets

	exhausted atomic.Bool // the NAT has no external port left

	// Unroutable counts packets from outside that the public side refused before the NAT saw them.
	Unroutable atomic.Uint64
}

// New makes a site and starts its routers.
func New(c *Config) (*Site, error) {
	switch {
	case c == nil || c.Egress == nil:
		return nil, fmt.Errorf("%w: Egress is missing", ErrConfig)
	case !c.Public.Is4():
		return nil, fmt.Errorf("%w: public address %v is not IPv4", ErrConfig, c.Public)
	case c.NAT && !c.LAN.Addr().Is4():
		return nil, fmt.Errorf("%w: private network %v is not IPv4", ErrConfig, c.LAN)
	}
	s := &Site{cfg: *c}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// start builds the routers and connects the hosts to them. Called with mu held, or before anybody knows s.
func (s *Site) start() error {
	root, err := newRouter(&vnet.RouterConfig{CIDR: "0.0.0.0/0", LoggerFactory: logx.Factory{}})
	if err != nil {
		return fmt.Errorf("vnetx: %w", err)
	}
	boot := s.boot
	root.AddChunkFilter(func(c vnet.Chunk) bool { return s.leaving(c, boot) })
	var nat *vnet.Router
	if s.cfg.NAT {
		nat, err = newRouter(&vnet.RouterConfig{
			CIDR:      s.cfg.LAN.String(),
			StaticIPs: []string{s.cfg.Public.String()},
			NATType: &vnet.NATType{
				MappingBehavior:   s.cfg.Mapping.pion(),
				FilteringBehavior: s.cfg.Filtering.pion(),
				MappingLifeTime:   s.cfg.MappingLifetime,
			},
			LoggerFactory: logx.Factory{},
		})
		if err == nil {
			err = root.AddRouter(nat)
		}
		if err != nil {
			return fmt.Errorf("vnetx: %w", err)
		}
	}
	s.root, s.nat = root, nat
	s.gates = make(map[netip.Addr]*vnet.Net)
	s.gated = make(map[netip.AddrPort]*vnet.UDPConn)
	s.exhausted.Store(false)
	for _, h := range s.hosts {
		if err := s.connect(h); err != nil {
			return err
		}
	}
	if err := root.Start(); err != nil {
		return fmt.Errorf("vnetx: %w", err)
	}
	return nil
}

// stop takes the routers down; packets inside them are lost. Called with mu held.
func (s *Site) stop() {
	for _, c := range s.gated {
		_ = c.Close() // closing twice is its only error
	}
	_ = s.root.Stop() // stopping twice is its only error
}

func (s *Site) connect(h *Host) error {
	r := s.root
	if s.nat != nil {
		r = s.nat
	}
	if err := r.AddNet(h.net); err != nil {
		return fmt.Errorf("vnetx: host %v: %w", h.addr, err)
	}
	return nil
}

// Reboot restarts the NAT as a power cut would: all mappings and packets inside are gone, and new mappings get
// other external ports than before. Without NAT it only loses the packets inside.
func (s *Site) Reboot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.stop()
	s.boot++
	return s.start()
}

// Close stops the site. Sockets on its hosts stay open but reach nobody; close them too.
func (s *Site) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.stop()
	return nil
}
