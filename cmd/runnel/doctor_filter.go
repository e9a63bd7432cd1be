// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

// filtering has a relay write to a socket that has only written to a STUN server, and sees whether that comes in. RFC 5780
// §4.4 asks a server with two addresses; a relay has as many as it has ports.
func (d *doctor) filtering(ctx context.Context) []finding {
	const name = "filtering"
	servers := slices.SortedFunc(maps.Keys(d.seen.answers), netip.AddrPort.Compare)
	servers = slices.DeleteFunc(servers, func(s netip.AddrPort) bool { return s.Addr().Is6() })
	if len(servers) == 0 || len(d.services.Relays) == 0 {
		return nil
	}
	var a *turnx.Allocation
	for _, r := range d.services.Relays {
		var err error
		if a, err = d.allocate(ctx, r, nil); err == nil {
			break
		}
	}
	if a == nil || !a.Relayed().Addr().Is4() {
		return nil
	}
	defer a.Close()
	p, err := newProber(ctx, false)
	if err != nil {
		return nil
	}
	defer p.close()
	written := servers[0]
	mapped, _, err := p.ask(ctx, written, 0)
	if err != nil {
		return nil
	}
	a.Permit(mapped.Addr())
	came := make(chan struct{}, 1)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for {
			select {
			case from := <-p.other:
				if from == a.Relayed() {
					came <- struct{}{}
					return
				}
			case <-reading.Done():
				return
			}
		}
	}()
	if _, err := carry(ctx, a, mapped, came); err != nil {
		return []finding{{
			name, note, "only those are let in whom we have written to, as most NATs and firewalls have it",
			"",
		}}
	}
	if a.Relayed().Addr() == written.Addr() {
		return []finding{{name, ok, "all ports of a host are let in that we have written to", ""}}
	}
	return []finding{{name, ok, "everybody is let in to a port that has sent something", ""}}
}
