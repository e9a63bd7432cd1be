// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A Config configures a [Server]. The zero value, and nil, serve clients of the same machine. A Config must not be modified
// after it was passed to [New].
type Config struct {
	// Name is the host in the URLs that clients use, such as rendezvous.example. Clients sign it when they register, so it
	// must be what they dial; Aliases are further names of the same server. If Name is empty, it is localhost, with aliases
	// for the loopback addresses.
	Name    string
	Aliases []string

	// STUN and Relays are handed to every registered client: host:port of STUN servers, and TURN URLs (RFC 7065). At most
	// 16 of each.
	STUN   []string
	Relays []string

	// Secrets are shared with the relays (coturn: static-auth-secret). The first one signs the credentials that clients
	// get; the others are for relays that are being moved from one secret to the next, and mean nothing here. If empty,
	// relays are handed out without credentials.
	Secrets []string

	// CredentialTTL is how long credentials for relays are good. They are renewed over the connection before they end. If
	// zero or negative, 10 min; at least 1 min.
	CredentialTTL time.Duration

	Limits Limits

	// TrustedProxies may tell the client's address in X-Forwarded-For. If empty, nobody may.
	TrustedProxies []netip.Prefix

	// AllowOrigin lists hosts of web pages that may connect, as patterns of [path.Match]; the host of the request is always
	// allowed, and so are clients that send no Origin, which all but browsers are.
	AllowOrigin []string

	// PingInterval is how often, ±20 %, a client is pinged. After two intervals without a sign of life its connection is
	// given up. If zero, 25 s; if negative, never.
	PingInterval time.Duration

	// ResumeWindow is how long the session of a client that vanished is kept, with what is sent to it. If zero, 30 s; if
	// negative, not at all.
	ResumeWindow time.Duration

	// ReconnectSpread is the time over which clients are asked to spread when the server shuts down. If zero, 5 s; if
	// negative, none; at most 10 min.
	ReconnectSpread time.Duration

	// Log gets what happens to clients. If nil, nothing is logged. Addresses of clients are logged without their last part.
	Log *slog.Logger
}

// Limits bound what clients can use up. For every field zero means the default and a negative value no limit.
type Limits struct {
	Connections      int     // in all; 50 000. A tenth of it may be unregistered
	ConnectionsPerIP int     // per IPv4 address or IPv6 /64 network; 100
	ConnectRate      float64 // new connections per second, per the same; 10, in bursts of 20

	MessageRate  float64 // per second and connection; 50. Who sends more is read more slowly
	MessageBurst int     // 100

	SendRate    float64 // envelopes per second from one peer to another; 5, which suffices for trickled candidates
	SendBurst   int     // 20
	TargetRate  float64 // envelopes per second to one peer from all others; 30
	TargetBurst int     // 60

	// QueueMessages and QueueBytes bound the envelopes that one client has not confirmed; 64, and 256 KiB of payload. Senders
	// are told that the peer is busy. If it has confirmed nothing for WriteTimeout by then, it is disconnected.
	QueueMessages, QueueBytes int

	Mailbox       int // envelopes kept for a client that may resume; 32
	BufferedBytes int // payloads kept for all clients; 256 MiB

	RegisterTimeout time.Duration // from connection to registration; 10 s
	WriteTimeout    time.Duration // for one message to get out; 10 s
}

const (
	defaultCredentialTTL = 10 * time.Minute
	minCredentialTTL     = time.Minute
	defaultPing          = 25 * time.Second
	defaultResume        = 30 * time.Second
	defaultSpread        = 5 * time.Second
	maxSpread            = 10 * time.Minute

	connectBurst = 20
	maxAdvice    = 16 // STUN servers, and relays
)

// ErrConfig is matched by the errors of [New].
var ErrConfig = errors.New("rendezvous: bad configuration")

// withDefaults returns a copy in which every field has a value to be used as it is: limits are large instead of none, and
// zero durations mean never.
func (c *Config) withDefaults() (Config, error) {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Name == "" {
		d.Name = "localhost"
		d.Aliases = append(slices.Clone(d.Aliases), "127.0.0.1", "::1")
	}
	names := append([]string{d.Name}, d.Aliases...)
	for i, n := range names {
		n = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(n, "["), "]"))
		if !hostLike(n) {
			return d, fmt.Errorf("%w: %q is not a host name; give it without scheme and port", ErrConfig, names[i])
		}
		names[i] = n
	}
	d.Name, d.Aliases = names[0], names[1:]
	if err := d.checkAdvice(); err != nil {
		return d, err
	}
	for _, p := range d.TrustedProxies {
		if !p.IsValid() {
			return d, fmt.Errorf("%w: invalid network among the trusted proxies", ErrConfig)
		}
	}
	for _, p := range d.AllowOrigin {
		if _, err := path.Match(p, ""); err != nil || p == "" || p == "*" {
			return d, fmt.Errorf("%w: %q is no pattern for origins; any origin at all is not offered", ErrConfig, p)
		}
	}
	if d.CredentialTTL <= 0 {
		d.CredentialTTL = defaultCredentialTTL
	}
	if d.CredentialTTL < minCredentialTTL {
		return d, fmt.Errorf("%w: credentials for %v would end before they are used; at least %v", ErrConfig,
			d.CredentialTTL, minCredentialTTL)
	}
	orNever(&d.PingInterval, defaultPing)
	orNever(&d.ResumeWindow, defaultResume)
	orNever(&d.ReconnectSpread, defaultSpread)
	d.ReconnectSpread = min(d.ReconnectSpread, maxSpread)
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	d.Limits = d.Limits.withDefaults()
	return d, nil
}

func (c *Config) checkAdvice() error {
	if len(c.STUN) > maxAdvice || len(c.Relays) > maxAdvice {
		return fmt.Errorf("%w: more than %d STUN servers or relays", ErrConfig, maxAdvice)
	}
	for _, s := range c.STUN {
		host, port, err := net.SplitHostPort(s)
		if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || !hostLike(host) {
			return fmt.Errorf("%w: STUN server %q is not host:port", ErrConfig, s)
		}
	}
	for _, r := range c.Relays {
		if _, err := signaling.ParseRelayURL(r); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	for _, s := range c.Secrets {
		if len(s) < 16 {
			return fmt.Errorf("%w: a relay secret of less than 16 bytes can be guessed", ErrConfig)
		}
	}
	return nil
}

// hostLike reports whether s may be a host name or an address without brackets.
func hostLike(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

func (l Limits) withDefaults() Limits {
	limit(&l.Connections, 50_000)
	limit(&l.ConnectionsPerIP, 100)
	rate(&l.ConnectRate, 10)
	rate(&l.MessageRate, 50)
	limit(&l.MessageBurst, 100)
	rate(&l.SendRate, 5)
	limit(&l.SendBurst, 20)
	rate(&l.TargetRate, 30)
	limit(&l.TargetBurst, 60)
	limit(&l.QueueMessages, 64)
	limit(&l.QueueBytes, 256<<10)
	limit(&l.Mailbox, 32)
	limit(&l.BufferedBytes, 256<<20)
	orNever(&l.RegisterTimeout, 10*time.Second)
	orNever(&l.WriteTimeout, 10*time.Second)
	return l
}

// unlimited stands for no limit. It is reached by nothing and does not overflow when multiplied by a few.
const unlimited = 1 << 30

func limit(n *int, ifZero int) {
	switch {
	case *n == 0:
		*n = ifZero
	case *n < 0:
		*n = unlimited
	}
}

func rate(r *float64, ifZero float64) {
	switch {
	case *r == 0:
		*r = ifZero
	case *r < 0:
		*r = unlimited
	}
}

func orNever(d *time.Duration, ifZero time.Duration) {
	if *d == 0 {
		*d = ifZero
	}
	*d = max(*d, 0)
}
