// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-98f0d4c2/runnel/internal/program"
)

// Serve runs until a signal comes, or a listener fails.
func (c *config) Serve(p *program.Process) error {
	mux := c.health()
	mux.Handle("/v1", c.server)
	public, err := program.ListenWeb(c.listen, mux, c.tls(), p.Log)
	if err != nil {
		return err
	}
	defer public.Close()
	webs := []*program.Web{public}
	if c.internal != "" {
		internal, err := program.ListenMetrics(c.internal, c.registry(), c.health(), p.Log)
		if err != nil {
			return err
		}
		defer internal.Close()
		webs = append(webs, internal)
	}

	failed := make(chan error, len(webs))
	var running sync.WaitGroup
	defer running.Wait()
	for _, w := range webs {
		running.Go(func() {
			if err := w.Serve(); err != nil {
				failed <- err
			}
		})
	}
	// One line that programs can read, and the only one there.
	url := c.url(public.Addr())
	p.Print("listening url=" + url + "\n")
	p.Log.Info("listening", slog.String("url", url), slog.String("address", public.Addr().String()),
		slog.String("version", program.Version()))

	_, err = p.Wait(failed)
	return errors.Join(err, c.end(p, webs))
}

// end ends everything, in the order in which nobody is let in who would be thrown out at once.
func (c *config) end(p *program.Process, webs []*program.Web) error {
	ctx, stop := p.Grace(c.shutdown, fmt.Errorf("clients did not leave within %v", c.shutdown),
		errors.New("shutdown cut short by a second signal"))
	defer stop()
	err := c.server.Shutdown(ctx)
	for _, w := range webs {
		err = errors.Join(err, w.Shutdown(ctx))
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// health serves the questions of supervisors and load balancers.
func (c *config) health() *http.ServeMux { return program.Health(c.server.Draining, "shutting down") }

func (c *config) registry() *prometheus.Registry {
	r := program.Registry("rendezvous")
	r.MustRegister(c.server)
	if c.cert != nil {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "runnel_rendezvous_certificate_expiry_timestamp_seconds",
			Help: "When the TLS certificate in use ends.",
		}, func() float64 { return float64(c.cert.Expires().Unix()) }))
	}
	return r
}

// url is where clients find the server that listens at addr.
func (c *config) url(addr net.Addr) string {
	scheme, host := "ws", c.host
	if c.cert != nil {
		scheme = "wss"
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return scheme + "://" + addr.String() + "/v1"
	}
	if host == "" {
		host = "localhost"
		if a := ap.Addr().Unmap(); !a.IsUnspecified() {
			host = a.String()
		}
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(ap.Port()))) + "/v1"
}
