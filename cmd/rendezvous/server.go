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
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serve runs until a signal comes, or a listener fails.
func serve(c *config, log *slog.Logger, stdout io.Writer, signals <-chan os.Signal) error {
	public, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	defer public.Close()
	mux := health(c)
	mux.Handle("/v1", c.server)
	servers := []*http.Server{newServer(mux, log, c.tls())}
	listeners := []net.Listener{public}
	if c.internal != "" {
		internal, err := net.Listen("tcp", c.internal)
		if err != nil {
			return err
		}
		defer internal.Close()
		mux := health(c)
		mux.Handle("/metrics", promhttp.HandlerFor(registry(c), promhttp.HandlerOpts{}))
		servers = append(servers, newServer(mux, log, nil))
		listeners = append(listeners, internal)
		log.Info("metrics", slog.String("url", "http://"+internal.Addr().String()+"/metrics"))
	}

	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	defer running.Wait()
	for i, s := range servers {
		running.Go(func() {
			serve := s.Serve
			if s.TLSConfig != nil {
				serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
			}
			if err := serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	// One line that programs can read, and the only one there.
	url := c.url(public.Addr())
	if _, err := fmt.Fprintf(stdout, "listening url=%s\n", url); err != nil {
		log.Warn("standard output is closed", slog.Any("error", err))
	}
	log.Info("listening", slog.String("url", url), slog.String("address", public.Addr().String()), slog.String("version", version()))

	select {
	case err = <-failed:
	case s := <-signals:
		log.Info("signal", slog.String("signal", s.String()))
	}
	return errors.Join(err, shutdown(c, servers, signals))
}

// shutdown ends everything, in the order in which nobody is let in who would be thrown out at once.
func shutdown(c *config, servers []*http.Server, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.shutdown,
		fmt.Errorf("clients did not leave within %v", c.shutdown))
	defer cancel()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		select {
		case <-signals:
			cut(errors.New("shutdown cut short by a second signal"))
		case <-stopped:
		}
	}()
	err := c.server.Shutdown(ctx)
	for _, s := range servers {
		if e := s.Shutdown(ctx); e != nil {
			s.Close()
			err = errors.Join(err, e)
		}
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func newServer(h http.Handler, log *slog.Logger, t *tls.Config) *http.Server {
	h1 := new(http.Protocols)
	h1.SetHTTP1(true)
	return &http.Server{
		Handler:           h,
		Protocols:         h1,
		TLSConfig:         t,
		ReadHeaderTimeout: 5 * time.Second, // of the TLS handshake too
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // mostly about clients
	}
}

// health serves the questions of supervisors and load balancers.
func health(c *config) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if c.server.Draining() {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	return mux
}

func registry(c *config) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		c.server,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "runnel_rendezvous_build_info",
			Help:        "1, with the version of the program.",
			ConstLabels: prometheus.Labels{"version": version()},
		}, func() float64 { return 1 }),
	)
	if c.cert != nil {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "runnel_rendezvous_certificate_expiry_timestamp_seconds",
			Help: "When the TLS certificate in use ends.",
		}, func() float64 { return float64(c.cert.expires().Unix()) }))
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
