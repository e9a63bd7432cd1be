// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// fetch is the command that makes one request.
type fetch struct {
	Peer    string        `arg:"" help:"Who serves: ID or ID@host:port."`
	Path    string        `arg:"" help:"What to fetch, such as /files/README.md, /whoami or /sum."`
	Upload  string        `help:"File to send as the body of a POST." placeholder:"FILE" type:"existingfile"`
	HTTP2   bool          `help:"Speak HTTP/2." name:"http2"`
	Timeout time.Duration `help:"Give up after so long." default:"1m"`
}

// Run makes the request and writes the body of the answer to stdout.
func (c *fetch) Run(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	ep, err := n.start(ctx)
	if err != nil {
		return err
	}
	defer stop(ep)
	id, err := reach(ctx, ep, c.Peer)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: ep.Dialer(label).DialContext, // the host of a URL is the ID of a peer
		Protocols:   protocols(!c.HTTP2, c.HTTP2),
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+id.String()+c.Path, http.NoBody)
	if err != nil {
		return err
	}
	if c.Upload != "" {
		f, err := os.Open(c.Upload)
		if err != nil {
			return err
		}
		defer f.Close()
		req.Method, req.Body, req.ContentLength = http.MethodPost, f, -1
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Fprintln(os.Stderr, resp.Proto, resp.Status)
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
