// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry has the metrics of the process and the Go runtime, and the version of the named program.
func Registry(name string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "runnel_" + name + "_build_info",
			Help:        "1, with the version of the program.",
			ConstLabels: prometheus.Labels{"version": Version()},
		}, func() float64 { return 1 }),
	)
	return r
}

// Health answers the questions of supervisors and load balancers: /livez always well, /readyz not while draining says so,
// for the reason given.
func Health(draining func() bool, reason string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if draining() {
			http.Error(w, reason, http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	return mux
}

// ListenMetrics opens a socket for scrapers and supervisors, not for the public: /metrics of reg beside what health serves,
// which it adds to.
func ListenMetrics(addr string, reg prometheus.Gatherer, health *http.ServeMux, log *slog.Logger) (*Web, error) {
	health.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	w, err := ListenWeb(addr, health, nil, log)
	if err != nil {
		return nil, err
	}
	log.Info("metrics", slog.String("url", "http://"+w.Addr().String()+"/metrics"))
	return w, nil
}
