// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

// A config is what the flags come to, checked.
type config struct {
	listen   string
	internal string // empty: none
	host     string // in the URL printed; empty: the address
	cert     *program.Certificate
	server   *rendezvous.Server
	shutdown time.Duration
}

// Service implements [program.Flags].
func (f *flags) Service(log *slog.Logger) (program.Service, error) {
	c := &config{listen: f.Listen, internal: f.MetricsListen, host: f.Name, shutdown: f.ShutdownTimeout}
	rc := &rendezvous.Config{
		Name:           f.Name,
		Aliases:        f.Alias,
		STUN:           f.STUN,
		Relays:         f.Relay,
		CredentialTTL:  f.CredentialTTL,
		TrustedProxies: f.TrustedProxy,
		AllowOrigin:    f.AllowOrigin,
		Log:            log,
		Limits:         rendezvous.Limits{Connections: f.MaxConnections, ConnectionsPerIP: f.MaxConnectionsPerIP},
	}
	switch {
	case f.MaxConnections == 0 || f.MaxConnectionsPerIP == 0:
		return nil, errors.New("--max-connections and --max-connections-per-ip: 0 would let nobody in; -1 is no limit")
	case f.CredentialTTL <= 0:
		return nil, errors.New("--credential-ttl must be positive")
	case f.ShutdownTimeout < 0:
		return nil, errors.New("--shutdown-timeout must not be negative")
	}
	require := f.production
	if f.Dev {
		require = f.development
	}
	if err := require(c, rc); err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(c.listen); err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if c.internal == "off" {
		c.internal = ""
	}
	if _, _, err := net.SplitHostPort(c.internal); err != nil && c.internal != "" {
		return nil, fmt.Errorf("--metrics-listen: %w", err)
	}

	var err error
	if rc.Secrets, err = f.secrets(); err != nil {
		return nil, err
	}
	if len(rc.Secrets) == 0 && len(rc.Relays) > 0 && !f.Dev {
		return nil, errors.New("--relay without --relay-secret-file: clients could not use the relays")
	}
	if f.TLSCert != "" || f.TLSKey != "" {
		if f.TLSCert == "" || f.TLSKey == "" {
			return nil, errors.New("--tls-cert and --tls-key go together")
		}
		if c.cert, err = program.LoadCertificate(f.TLSCert, f.TLSKey, log); err != nil {
			return nil, err
		}
	}
	c.server, err = rendezvous.New(rc)
	return c, err
}

// development fills in what --dev makes unnecessary. The server answers to the address it listens at, whatever its name.
func (f *flags) development(c *config, rc *rendezvous.Config) error {
	if c.listen == "" {
		c.listen = "127.0.0.1:8080"
	}
	if c.internal == "" {
		c.internal = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(c.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	if host == "" || err == nil && ip.IsUnspecified() {
		if f.Name == "" {
			return errors.New("--dev at all addresses needs --name: the host in the URL that clients use")
		}
		host = f.Name
	}
	rc.Name = host
	rc.Aliases = append(rc.Aliases, "localhost", "127.0.0.1", "::1")
	if f.Name != "" {
		rc.Aliases = append(rc.Aliases, f.Name)
	}
	if !ip.IsLoopback() && host != "localhost" {
		rc.Log.Warn("development server without TLS in reach of others", slog.String("address", c.listen))
	}
	return nil
}

// production insists on what --dev makes unnecessary.
func (f *flags) production(c *config, _ *rendezvous.Config) error {
	if c.listen == "" {
		c.listen = ":8443"
	}
	if f.Name == "" {
		return errors.New("--name is missing: the host in the URL that clients use (or --dev, to try it out)")
	}
	if f.TLSCert == "" && f.TLSKey == "" && len(f.TrustedProxy) == 0 {
		return errors.New("no TLS: give --tls-cert and --tls-key, or --trusted-proxy if a proxy does TLS (or --dev, to try it out)")
	}
	return nil
}

// secrets reads the secrets shared with the relays: of which the first counts.
func (f *flags) secrets() ([]string, error) {
	switch {
	case f.RelaySecret != "" && f.RelaySecretFile != "":
		return nil, errors.New("--relay-secret and --relay-secret-file exclude each other")
	case f.RelaySecret != "":
		return []string{f.RelaySecret}, nil
	case f.RelaySecretFile == "":
		return nil, nil
	}
	secrets, err := program.ReadSecrets(f.RelaySecretFile)
	if err != nil {
		return nil, fmt.Errorf("--relay-secret-file: %w", err)
	}
	return secrets, nil
}

// tls is the TLS configuration of the public listener, or nil.
func (c *config) tls() *tls.Config {
	if c.cert == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // a WebSocket is an upgrade of it
		GetCertificate: c.cert.Get,
	}
}
