// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/mdns"
	"github.com/seed-98f0d4c2/runnel/internal/netwatch"
	"github.com/seed-98f0d4c2/runnel/internal/portmap"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
)

// host looks at interfaces and routes.
func (d *doctor) host() []finding {
	w, err := netwatch.New(d.log)
	if err != nil {
		return []finding{{"addresses", warn, "the network cannot be watched: " + err.Error(), ""}}
	}
	defer w.Close()
	s := w.Snapshot()
	var addrs []string
	for _, i := range s.Interfaces {
		for _, a := range i.Addrs {
			if i.Up && !i.Loopback && !a.IsLinkLocalUnicast() {
				addrs = append(addrs, i.Name+" "+a.String())
			}
		}
	}
	out := []finding{{"addresses", ok, strings.Join(addrs, ", "), ""}}
	if len(addrs) == 0 {
		out[0] = finding{"addresses", fail, "none but loopback and link-local ones", "Connect this host to a network."}
	}
	for _, r := range []struct {
		name string
		way  netwatch.Route
	}{{"route IPv4", s.Default4}, {"route IPv6", s.Default6}} {
		f := finding{r.name, ok, fmt.Sprintf("by %s from %v", r.way.Interface, r.way.Source), ""}
		if r.way.Gateway.IsValid() {
			f.Text += fmt.Sprintf(" to %v", r.way.Gateway)
		}
		if r.way == (netwatch.Route{}) {
			f = finding{r.name, note, "there is no way to the internet", ""}
		}
		out = append(out, f)
	}
	if s.Default4 == (netwatch.Route{}) && s.Default6 == (netwatch.Route{}) {
		out[1].Verdict, out[1].Remedy = fail, "Connect this host to the internet; only peers on its own network are reached now."
	}
	return out
}

// portMapping asks the router, as an endpoint does.
func (d *doctor) portMapping(ctx context.Context) []finding {
	const name = "port mapping"
	pc, err := udp.Listen(ctx, "udp4", netip.AddrPort{})
	if err != nil {
		return []finding{{name, note, "there is no IPv4 socket: " + err.Error(), ""}}
	}
	defer pc.Close()
	local, err := netip.ParseAddrPort(pc.LocalAddr().String())
	if err != nil {
		return []finding{{name, note, err.Error(), ""}}
	}
	news := make(chan struct{}, 1)
	m := portmap.New(portmap.Config{V4: local, Log: d.log, Changed: func() {
		select {
		case news <- struct{}{}:
		default:
		}
	}})
	defer func() {
		brief, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		m.Close(brief)
	}()
	tick := time.NewTicker(100 * time.Millisecond) // failures are not told
	defer tick.Stop()
	limit := time.After(12 * time.Second)
	for {
		st := m.Status()[0]
		switch {
		case st.External.IsValid():
			return []finding{{name, ok, fmt.Sprintf("%v at router %v forwards %v", st.Protocol, st.Gateway.Addr, st.External), ""}}
		case errors.Is(st.Err, portmap.ErrNotPrivate):
			return []finding{{name, ok, "not needed: this host's address is public", ""}}
		case st.Err != nil:
			return []finding{{
				name, note, strings.ReplaceAll(strings.TrimPrefix(st.Err.Error(), "portmap: "), "\n", "; "),
				"If direct paths are not found, enable UPnP, NAT-PMP or PCP on the router.",
			}}
		}
		select {
		case <-news:
		case <-tick.C:
		case <-limit:
			return []finding{{name, note, "the router has not made up its mind", ""}}
		case <-ctx.Done():
			return []finding{{name, note, "not finished: " + ctx.Err().Error(), ""}}
		}
	}
}

// multicast sends what an endpoint with Config.LAN sends to look for a peer.
func (d *doctor) multicast(ctx context.Context) []finding {
	const name = "multicast"
	group := mdns.Group("udp4")
	c, err := mdns.Listen(ctx, "udp4", group)
	if err != nil {
		return []finding{{name, note, "no multicast DNS: " + err.Error(), "Peers on the local network are not found without a rendezvous."}}
	}
	defer c.Close()
	var id mdns.ID
	_, _ = rand.Read(id[:]) // nobody's
	q := mdns.Query{}
	_, _ = rand.Read(q.Nonce[:])
	if _, err := c.WriteTo(mdns.AppendQuery(nil, q, id, time.Now()), c.LocalAddr()); err != nil {
		return []finding{{name, note, "a query cannot be sent: " + err.Error(), "Peers on the local network are not found without a rendezvous."}}
	}
	return []finding{{name, ok, fmt.Sprintf("queries leave to %v", group), ""}}
}
