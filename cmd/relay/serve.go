// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed-98f0d4c2/runnel/internal/relay"
)

// bound is what was opened, for the two lines on standard output.
type bound struct{ udp, tcp, tls []string }

// serve runs until a signal comes, or the relay fails.
func serve(c *config, log *slog.Logger, stdout io.Writer, signals <-chan os.Signal) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	reg := registry()
	c.relay.Registerer = reg
	s, err := relay.New(&c.relay)
	if err != nil {
		c.close()
		return err
	}
	defer s.Close()
	if c.metrics != "" {
		stop, err := serveMetrics(c.metrics, s, reg, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	if _, err := io.WriteString(stdout, b.lines(c)); err != nil {
		log.Warn("standard output is closed", slog.Any("error", err))
	}
	log.Info("listening", slog.Any("udp", b.udp), slog.Any("tcp", b.tcp), slog.Any("tls", b.tls),
		slog.String("external_ip", c.relay.RelayIP.String()), slog.String("version", version()))

	select {
	case err := <-served:
		return err
	case sig := <-signals:
		log.Info("signal", slog.String("signal", sig.String()))
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.shutdown, fmt.Errorf("not gone within %v", c.shutdown))
	defer cancel()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	go func() {
		select {
		case <-signals:
			cut(errors.New("second signal"))
		case <-ctx.Done():
		}
	}()
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
	for _, pc := range c.relay.PacketConns {
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
	for _, a := range b.udp {
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

func registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "runnel_relay_build_info", Help: "1, with the version of the program.",
			ConstLabels: prometheus.Labels{"version": version()},
		}, func() float64 { return 1 }),
	)
	return r
}

// serveMetrics answers supervisors and scrapers on an address of their own.
func serveMetrics(addr string, s *relay.Server, reg *prometheus.Registry, log *slog.Logger) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.Draining() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	h := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics ended", slog.Any("error", err))
		}
	}()
	log.Info("metrics", slog.String("url", "http://"+l.Addr().String()+"/metrics"))
	return func() {
		h.Close()
		<-ended
	}, nil
}
