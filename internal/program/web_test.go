// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/program/programtest"
)

// get asks without keeping the connection.
func get(t *testing.T, c *tls.Config, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: c}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// serve serves until the test ends.
func serve(t *testing.T, w *Web) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- w.Serve() }()
	t.Cleanup(func() {
		w.Close()
		if err := <-ended; err != nil {
			t.Errorf("closed: %v, want no error", err)
		}
	})
}

func TestMetricsAndHealth(t *testing.T) {
	var draining atomic.Bool
	w, err := ListenMetrics("127.0.0.1:0", Registry("parrot"), Health(draining.Load, "hush"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, w)
	ask := func(path string, code int, says string) {
		t.Helper()
		if got, body := get(t, nil, "http://"+w.Addr().String()+path); got != code || !strings.Contains(body, says) {
			t.Errorf("%s: %d %q, want %d and %q", path, got, body, code, says)
		}
	}
	ask("/livez", 200, "ok\n")
	ask("/readyz", 200, "ok\n")
	ask("/metrics", 200, "go_goroutines")
	ask("/metrics", 200, `runnel_parrot_build_info{version="`)
	ask("/", 404, "")
	draining.Store(true)
	ask("/livez", 200, "ok\n")
	ask("/readyz", 503, "hush\n")
}

func TestWebTLS(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	chain, key, pool := programtest.Certificate(t, t.TempDir(), 1, "parrot.example")
	cert, err := LoadCertificate(chain, key, log)
	if err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	w, err := ListenWeb("127.0.0.1:0", h, &tls.Config{GetCertificate: cert.Get, NextProtos: []string{"http/1.1"}}, log)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, w)
	c := &tls.Config{RootCAs: pool, ServerName: "parrot.example"}
	if code, body := get(t, c, "https://"+w.Addr().String()); code != 200 || body != "HTTP/1.1" {
		t.Errorf("%d %q, want 200 by HTTP/1.1", code, body)
	}
	if _, err := ListenWeb(w.Addr().String(), h, nil, log); err == nil {
		t.Error("a second listener at the same address, want an error")
	}
}

// A shutdown whose time is up breaks off the requests that are left.
func TestWebShutdown(t *testing.T) {
	began := make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	})
	w, err := ListenWeb("127.0.0.1:0", h, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, w)
	asked := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+w.Addr().String(), nil)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			res.Body.Close()
		}
		asked <- err
	}()
	<-began
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Shutdown(over); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v, want that it was cut short", err)
	}
	if err := <-asked; err == nil {
		t.Error("the request was answered, want it broken off")
	}
}
