// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/internal/relay"
)

// bound is what was opened, for the two lines on standard output.
type bound struct{ udp, tcp, tls, stun []string }

// Serve runs until a signal comes, or the relay fails.
func (c *config) Serve(p *program.Process) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	reg := program.Registry("relay")
	c.relay.Registerer = reg
	s, err := relay.New(&c.relay)
	if err != nil {
		c.close()
		return err
	}
	defer s.Close()
	if c.metrics != "" {
		stop, err := serveMetrics(c.metrics, s, reg, p.Log)
		if err != nil {
			return err
		}
		defer stop()
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	p.Print(b.lines(c))
	p.Log.Info("listening", slog.Any("udp", b.udp), slog.Any("tcp", b.tcp), slog.Any("tls", b.tls),
		slog.String("external_ip", c.relay.RelayIP.String()), slog.String("version", program.Version()))

	if signaled, err := p.Wait(served); !signaled {
		return err
	}
	ctx, stop := p.Grace(c.shutdown, fmt.Errorf("not gone within %v", c.shutdown), errors.New("second signal"))
	defer stop()
	return s.Shutdown(ctx)
}

// open opens all sockets. UDP and TCP of an address get the same port if the system chooses and can.
func (c *config) open() (b bound, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	ctx := context.Background()
	for _, addr := range c.listen {
		pcs, err := relay.ListenUDP(ctx, addr, c.sockets)
		if err != nil {
			return b, err
		}
		c.relay.PacketConns = append(c.relay.PacketConns, pcs...)
		b.udp = append(b.udp, pcs[0].LocalAddr().String())
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return b, err
		}
		same := net.JoinHostPort(host, strconv.Itoa(pcs[0].LocalAddr().(*net.UDPAddr).Port))
		l, err := net.Listen("tcp", same)
		if err != nil && port == "0" {
			l, err = net.Listen("tcp", addr)
		}
		if err != nil {
			return b, err
		}
		c.relay.Listeners = append(c.relay.Listeners, l)
		b.tcp = append(b.tcp, l.Addr().String())
	}
	for _, addr := range c.stunListen {
		pcs, err := relay.ListenUDP(ctx, addr, 1)
		if err != nil {
			return b, err
		}
		c.relay.STUNConns = append(c.relay.STUNConns, pcs...)
		b.stun = append(b.stun, pcs[0].LocalAddr().String())
	}
	for _, addr := range c.tlsListen {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return b, err
		}
		c.relay.Listeners = append(c.relay.Listeners, tls.NewListener(l, c.tls))
		b.tls = append(b.tls, l.Addr().String())
	}
	return b, nil
}

func (c *config) close() {
	for _, pc := range slices.Concat(c.relay.PacketConns, c.relay.STUNConns) {
		pc.Close()
	}
	for _, l := range c.relay.Listeners {
		l.Close()
	}
}

// lines are for programs and for whoever starts the rendezvous server.
func (b *bound) lines(c *config) string {
	out := strings.Builder{}
	out.WriteString("listening")
	flags := []string{}
	for _, k := range []struct {
		name, scheme, query string
		addrs               []string
	}{{"udp", "turn", "?transport=udp", b.udp}, {"tcp", "turn", "?transport=tcp", b.tcp}, {"tls", "turns", "?transport=tcp", b.tls}} {
		if len(k.addrs) == 0 {
			continue
		}
		fmt.Fprintf(&out, " %s=%s", k.name, strings.Join(k.addrs, ","))
		for _, a := range k.addrs {
			if hp := c.public(a); hp != "" {
				flags = append(flags, fmt.Sprintf(`--relay "%s:%s%s"`, k.scheme, hp, k.query))
			}
		}
	}
	if len(b.stun) > 0 {
		fmt.Fprintf(&out, " stun=%s", strings.Join(b.stun, ","))
	}
	for _, a := range slices.Concat(b.udp, b.stun) {
		if hp := c.public(a); hp != "" {
			flags = append(flags, "--stun "+hp)
		}
	}
	fmt.Fprintf(&out, "\nrendezvous flags: %s %s\n", strings.Join(flags, " "), c.secretArg)
	return out.String()
}

// public is the address at which the outside reaches what is bound to a, as far as it can be known: the address itself
// if it is specific and not private, else the external one.
func (c *config) public(a string) string {
	host, port, _ := net.SplitHostPort(a)
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() && (ip.IsLoopback() || !ip.IsPrivate() && !ip.IsLinkLocalUnicast()) {
		return a
	}
	return net.JoinHostPort(c.relay.RelayIP.String(), port)
}

// serveMetrics answers supervisors and scrapers on an address of their own. That it fails later is no reason to end.
func serveMetrics(addr string, s *relay.Server, reg prometheus.Gatherer, log *slog.Logger) (stop func(), err error) {
	w, err := program.ListenMetrics(addr, reg, program.Health(s.Draining, "draining"), log)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.Serve(); err != nil {
			log.Error("metrics ended", slog.Any("error", err))
		}
	}()
	return func() {
		w.Close()
		<-ended
	}, nil
}
