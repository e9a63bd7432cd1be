// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// A ClientConfig configures a [Client]. The zero value, and nil, are good for a server with a certificate from a public
// authority. A ClientConfig must not be modified after it was passed to [NewClient].
type ClientConfig struct {
	// ServerName is what the server must call itself. If empty, it is the host of the URL. The client signs this name when it
	// registers, so that no other server can use the signature.
	ServerName string

	// TLS is for wss URLs. If nil, the system's roots and the host of the URL decide.
	TLS *tls.Config

	// DialContext makes the TCP connections. If nil, a net.Dialer does.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// HTTPClient, if not nil, makes the WebSocket handshake instead of a client made for the purpose. It must speak
	// HTTP/1.1. TLS and DialContext must be nil then.
	HTTPClient *http.Client

	// Log gets what happens to the connection. If nil, nothing is logged.
	Log *slog.Logger

	// ConnectTimeout bounds one attempt, from DNS to registration. If zero or negative, 15 s.
	ConnectTimeout time.Duration

	// BackoffMin and BackoffMax bound the pauses between attempts: the pause is drawn evenly between zero and a limit that
	// doubles from the one to the other with each failure. If zero or negative, 500 ms and 60 s.
	BackoffMin, BackoffMax time.Duration

	// PingInterval is how long, ±20 %, the connection may be silent until it is probed; after two intervals without an
	// answer it is given up. The server pings every 25 s, so a probe is rare. If zero, 30 s; if negative, never.
	PingInterval time.Duration

	// VerifyInterval is how often the client asks whether the server still has it registered; a server or proxy may answer
	// pings and have forgotten all else. If zero, 5 min; if negative, never.
	VerifyInterval time.Duration
}

const (
	defaultConnectTimeout = 15 * time.Second
	defaultBackoffMin     = 500 * time.Millisecond
	defaultBackoffMax     = 60 * time.Second
	defaultClientPing     = 30 * time.Second
	defaultVerify         = 5 * time.Minute
)

// withDefaults returns a copy in which every field has a value to be used as it is; zero durations mean never.
func (c *ClientConfig) withDefaults(u *url.URL) (ClientConfig, error) {
	var d ClientConfig
	if c != nil {
		d = *c
	}
	if d.HTTPClient != nil && (d.TLS != nil || d.DialContext != nil) {
		return d, errors.New("signaling: ClientConfig with HTTPClient and TLS or DialContext")
	}
	if d.ServerName == "" {
		d.ServerName = u.Hostname()
	}
	d.ServerName = strings.ToLower(d.ServerName)
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.HTTPClient == nil {
		h1 := new(http.Protocols) // a WebSocket is an upgrade of HTTP/1.1
		h1.SetHTTP1(true)
		t := &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         d.DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			Protocols:           h1,
		}
		if d.TLS != nil {
			t.TLSClientConfig = d.TLS.Clone()
		}
		d.HTTPClient = &http.Client{Transport: t}
	}
	positive(&d.ConnectTimeout, defaultConnectTimeout)
	positive(&d.BackoffMin, defaultBackoffMin)
	positive(&d.BackoffMax, defaultBackoffMax)
	d.BackoffMax = max(d.BackoffMax, d.BackoffMin)
	orNever(&d.PingInterval, defaultClientPing)
	orNever(&d.VerifyInterval, defaultVerify)
	return d, nil
}

func positive(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}

func orNever(d *time.Duration, ifZero time.Duration) {
	if *d == 0 {
		*d = ifZero
	}
	*d = max(*d, 0)
}

// parseURL checks the URL of a rendezvous server.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("signaling: rendezvous URL: %w", err)
	}
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("signaling: rendezvous URL %q: it starts with neither ws:// nor wss://", u.Redacted())
	case u.Hostname() == "":
		return nil, fmt.Errorf("signaling: rendezvous URL %q: no host", u.Redacted())
	case u.User != nil || u.Fragment != "":
		return nil, fmt.Errorf("signaling: rendezvous URL %q: user names and fragments have no meaning", u.Redacted())
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = rvproto.Path
	}
	return u, nil
}

// exposed reports whether the URL leads through a network without encryption.
func exposed(u *url.URL) bool {
	if u.Scheme == "wss" || u.Hostname() == "localhost" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback()
}
