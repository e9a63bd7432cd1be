// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	httpTimeout = 3 * time.Second
	maxBody     = 64 << 10
)

var (
	errElsewhere = errors.New("portmap: the router sends us to somebody else")
	errTooLong   = errors.New("portmap: the router's answer is too long")
)

// newClient makes an HTTP client that talks to the router alone, whatever the router says. UPnP lets devices name URLs, so
// that otherwise anybody on the network could have us fetch anything.
func newClient(router netip.Addr, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Timeout:       httpTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errElsewhere },
		Transport: bounded{&http.Transport{
			Proxy: nil,
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				to, err := netip.ParseAddrPort(addr)
				if err != nil || to.Addr() != router {
					return nil, errElsewhere
				}
				return dial(ctx, "tcp", addr)
			},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		}},
	}
}

// bounded bounds the bodies of answers.
type bounded struct{ next http.RoundTripper }

func (t bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, maxBody}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
