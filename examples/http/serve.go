// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
)

// serve is the command that serves a directory.
type serve struct {
	Dir string `help:"Directory to serve under /files/." default:"." type:"existingdir"`
}

// Run serves until ctx ends.
func (c *serve) Run(ctx context.Context, n *node) error {
	ep, err := n.start(ctx)
	if err != nil {
		return err
	}
	defer stop(ep)
	l, err := ep.Listener(label) // streams of any peer
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: c.handler(), Protocols: protocols(true, true)}
	context.AfterFunc(ctx, func() { _ = srv.Close() })

	fmt.Println("serving", ep.ID())
	for _, addr := range ep.LocalAddrs() {
		fmt.Printf("address %s@%s\n", ep.ID(), addr)
	}
	if err := srv.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

func (c *serve) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /files/", http.StripPrefix("/files/", http.FileServer(http.Dir(c.Dir))))
	mux.HandleFunc("GET /whoami", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.RemoteAddr) // the peer's ID, which the session has proven
	})
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body) // as it comes: the body may be larger than memory
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%x %d bytes\n", h.Sum(nil), n)
	})
	return mux
}

// protocols are versions of HTTP, without the TLS that a session makes superfluous.
func protocols(http1, http2 bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(http2)
	return p
}
