// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// A Web is an HTTP server and its socket.
type Web struct {
	listener net.Listener
	server   *http.Server
}

// ListenWeb opens a TCP socket for h, which [Web.Serve] then serves; in TLS unless t is nil. Clients have 5 s for the TLS
// handshake and the header of a request, which is of 8 KiB at most, and a minute until the next one.
func ListenWeb(addr string, h http.Handler, t *tls.Config, log *slog.Logger) (*Web, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	h1 := new(http.Protocols)
	h1.SetHTTP1(true)
	return &Web{l, &http.Server{
		Handler:           h,
		Protocols:         h1,
		TLSConfig:         t,
		ReadTimeout:       10 * time.Second,
		ReadHeaderTimeout: 5 * time.Second, // of the TLS handshake too
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // mostly about clients
	}}, nil
}

// Addr is where the socket listens.
func (w *Web) Addr() net.Addr { return w.listener.Addr() }

// Serve blocks until the server fails, or is shut down or closed, which is no error.
func (w *Web) Serve() error {
	serve := w.server.Serve
	if w.server.TLSConfig != nil {
		serve = func(l net.Listener) error { return w.server.ServeTLS(l, "", "") }
	}
	if err := serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown lets nobody in and waits for requests to end. When the context ends it breaks them off and returns an error.
func (w *Web) Shutdown(ctx context.Context) error {
	err := w.server.Shutdown(ctx)
	if err != nil {
		w.Close()
	}
	return err
}

// Close breaks everything off, and is harmless after a Shutdown. What it could fail at is closed by then.
func (w *Web) Close() {
	w.server.Close()
	w.listener.Close()
}
