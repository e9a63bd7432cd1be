// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	allocateTime = 5 * time.Second
	echoTime     = 3 * time.Second
	echoEvery    = 200 * time.Millisecond
)

// relays tries every way to every relay.
func (d *doctor) relays(ctx context.Context) []finding {
	if len(d.services.Relays) == 0 {
		return []finding{{"relay", note, "none is known", "Give --relay or --rendezvous."}}
	}
	out := make([]finding, len(d.services.Relays))
	var all sync.WaitGroup
	for i, r := range d.services.Relays {
		all.Go(func() { out[i] = d.relay(ctx, r) })
	}
	all.Wait()
	some := false
	for _, f := range out {
		some = some || f.Verdict == ok
	}
	for i := range out {
		if out[i].Verdict == fail && some {
			out[i].Verdict = warn // there is another way
		}
	}
	return out
}

// relay has a relay carry packets from one allocation to another.
func (d *doctor) relay(ctx context.Context, r signaling.Relay) finding {
	name := "relay"
	remedy := "Check that the relay runs, that its credentials are those of the rendezvous, and that this network lets it through."
	echo := make(chan struct{}, 1)
	began := time.Now()
	a, err := d.allocate(ctx, r, nil)
	if err != nil {
		return finding{name, fail, fmt.Sprintf("%s: %v", r.URL, err), remedy}
	}
	defer a.Close()
	took := time.Since(began)
	b, err := d.allocate(ctx, r, func([]byte, netip.AddrPort) {
		select {
		case echo <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return finding{name, warn, fmt.Sprintf("%s: a second allocation: %v", r.URL, err), remedy}
	}
	defer b.Close()
	a.Permit(b.Relayed().Addr())
	b.Permit(a.Relayed().Addr())
	rtt, err := carry(ctx, a, b.Relayed(), echo)
	if err != nil {
		return finding{
			name, warn, fmt.Sprintf("%s: allocated %v in %v, but it carries nothing to %v: %v", r.URL, a.Relayed(), short(took), b.Relayed(), err),
			"Check the relay's policy for peers, its firewall, and --external-ip and --bind-ip.",
		}
	}
	return finding{name, ok, fmt.Sprintf("%s: allocated %v in %v, echo in %v", r.URL, a.Relayed(), short(took), short(rtt)), ""}
}

// carry sends by a until something comes.
func carry(ctx context.Context, a *turnx.Allocation, to netip.AddrPort, came <-chan struct{}) (time.Duration, error) {
	limit := time.NewTimer(echoTime)
	defer limit.Stop()
	again := time.NewTicker(echoEvery)
	defer again.Stop()
	for {
		began := time.Now()
		if err := a.WriteTo([]byte("echo"), to); err != nil {
			return 0, err
		}
		select {
		case <-came:
			return time.Since(began), nil
		case <-again.C:
		case <-limit.C:
			return 0, errSilent
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// allocate makes an allocation over a connection of its own.
func (d *doctor) allocate(ctx context.Context, r signaling.Relay, onPacket func([]byte, netip.AddrPort)) (*turnx.Allocation, error) {
	u, err := signaling.ParseRelayURL(r.URL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, allocateTime)
	defer cancel()
	conn, server, err := connect(ctx, u)
	if err != nil {
		return nil, err
	}
	a, err := turnx.Allocate(ctx, &turnx.ClientConfig{
		Conn: conn, Server: server, Username: r.Username, Password: r.Credential, OnPacket: onPacket, Log: d.log,
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = errSilent
	}
	return a, err
}

func connect(ctx context.Context, u signaling.RelayAddr) (net.PacketConn, netip.AddrPort, error) {
	addr := net.JoinHostPort(u.Host, strconv.Itoa(int(u.Port)))
	servers, err := lookup(ctx, addr)
	if err == nil && len(servers) == 0 {
		err = fmt.Errorf("%s has no address", u.Host)
	}
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	server := servers[0]
	if u.Transport == "udp" {
		pc, err := udp.Listen(ctx, "udp"+map[bool]string{true: "6", false: "4"}[server.Addr().Is6()], netip.AddrPort{})
		return pc, server, err
	}
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = new(net.Dialer)
	if u.TLS {
		dialer = &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Host}}
	}
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, server, err
	}
	return turnx.NewStreamConn(c), server, nil
}
