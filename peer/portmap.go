// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"net/netip"

	"github.com/seed-98f0d4c2/runnel/internal/portmap"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
)

// portMapping is the router's part in being reachable: it is asked to forward ports to the endpoint's sockets. Nil is
// none.
type portMapping struct{ m *portmap.Mapper }

// newPortMapping starts to ask, where that makes sense: see [Config.NoPortMapping].
func newPortMapping(e *Endpoint) *portMapping {
	c := portmap.Config{Changed: e.candidatesChanged, Log: e.log, Network: e.cfg.Network, Gateway: e.cfg.gateway}
	_, system := e.cfg.Network.(udp.OS)
	if e.cfg.NoPortMapping || e.cfg.Policy.RelayOnly || (!system && c.Gateway == nil) {
		return nil
	}
	asks := false
	for _, s := range e.socks {
		local := s.conn.LocalAddr()
		if local.Addr().IsLoopback() {
			continue // not for packets from elsewhere
		}
		asks = true
		if s.v6 {
			c.V6 = local
		} else {
			c.V4 = local
		}
	}
	if !asks {
		return nil
	}
	return &portMapping{portmap.New(c)}
}

// addrs are the public addresses that the router forwards to this endpoint.
func (p *portMapping) addrs() []netip.AddrPort {
	if p == nil {
		return nil
	}
	return p.m.Addrs()
}

// networkChanged lets the mapping begin anew, perhaps at another router.
func (p *portMapping) networkChanged() {
	if p != nil {
		p.m.NetworkChanged()
	}
}

// close takes the mapping back, for which the router has a second, and less if ctx says so.
func (p *portMapping) close(ctx context.Context) {
	if p != nil {
		p.m.Close(ctx)
	}
}
