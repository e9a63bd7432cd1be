// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"net/netip"
	"sync"

	"github.com/seed-98f0d4c2/runnel/internal/portmap"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
)

// portMapping is the router's part in being reachable: it is asked to forward ports to the endpoint's sockets, once there
// may be a peer that is told. Nil is none.
type portMapping struct {
	cfg portmap.Config

	mu     sync.Mutex
	m      *portmap.Mapper // nil until it is started
	closed bool
}

// newPortMapping returns nil where there is nothing to ask for: see [Config.NoPortMapping].
func newPortMapping(e *Endpoint) *portMapping {
	p := &portMapping{cfg: portmap.Config{
		Changed: e.candidatesChanged, Log: e.log, Network: e.cfg.Network, Gateway: e.cfg.gateway,
	}}
	if _, system := e.cfg.Network.(udp.OS); e.cfg.NoPortMapping || (!system && p.cfg.Gateway == nil) {
		return nil
	}
	for _, s := range e.socks {
		switch local := s.conn.LocalAddr(); {
		case local.Addr().IsLoopback(): // not for packets from elsewhere
		case s.v6:
			p.cfg.V6 = local
		default:
			p.cfg.V4 = local
		}
	}
	if !p.cfg.V4.IsValid() && !p.cfg.V6.IsValid() {
		return nil
	}
	if e.cfg.Addresses == nil {
		p.start()
	}
	return p
}

// start asks the router, if it has not been asked.
func (p *portMapping) start() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil && !p.closed {
		p.m = portmap.New(p.cfg)
	}
}

func (p *portMapping) mapper() *portmap.Mapper {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.m
}

// addrs are the public addresses that the router forwards to this endpoint.
func (p *portMapping) addrs() []netip.AddrPort {
	if m := p.mapper(); m != nil {
		return m.Addrs()
	}
	return nil
}

// networkChanged lets the mapping begin anew, perhaps at another router.
func (p *portMapping) networkChanged() {
	if m := p.mapper(); m != nil {
		m.NetworkChanged()
	}
}

// close takes the mapping back, for which the router has a second, and less if ctx says so.
func (p *portMapping) close(ctx context.Context) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.closed = true
	m := p.m
	p.mu.Unlock()
	if m != nil {
		m.Close(ctx)
	}
}
