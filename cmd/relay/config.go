// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/program"
	"github.com/seed-98f0d4c2/runnel/internal/relay"
)

// config is what the flags come to, before any socket is open.
type config struct {
	relay      relay.Config
	listen     []string
	tlsListen  []string
	stunListen []string
	tls        *tls.Config
	sockets    int
	metrics    string
	shutdown   time.Duration
	secretArg  string // how the rendezvous server is told the secret
}

// devPeers is what --dev allows beyond the public Internet.
var devPeers = []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"}

// Service implements [program.Flags].
func (f *flags) Service(log *slog.Logger) (program.Service, error) {
	c := &config{
		listen: f.Listen, tlsListen: f.TLSListen, stunListen: f.STUNListen, sockets: f.Sockets, metrics: f.MetricsListen, shutdown: f.ShutdownTimeout,
		relay: relay.Config{
			BindIP: f.BindIP.Unmap(), Realm: f.Realm, AllowPeers: f.AllowPeer, AllowHost: f.Dev,
			MaxAllocations: f.MaxAllocations, MaxPerUser: f.MaxPerUser,
			MaxConns: f.MaxConnections, MaxConnsPerIP: f.MaxConnsPerIP, BytesPerSecond: f.MaxBytesPerSec,
			AnswerRate: f.AnswersPerSecond, Log: log,
		},
	}
	if c.sockets <= 0 {
		c.sockets = runtime.GOMAXPROCS(0)
	}
	for _, p := range f.AllowPeer {
		log.Warn("peers are reachable that the default policy denies", slog.String("network", p.String()))
	}
	if f.Dev {
		log.Warn("development mode: not for the Internet")
		c.relay.AnswerRate = -1 // all clients have one address
		for _, p := range devPeers {
			c.relay.AllowPeers = append(c.relay.AllowPeers, netip.MustParsePrefix(p))
		}
	}
	if len(c.listen) == 0 {
		c.listen = []string{":3478"}
		if f.Dev {
			c.listen = []string{"127.0.0.1:3478"}
		}
	}
	for _, step := range []func(*config) error{f.secrets, f.ports, f.addresses, f.certificate(log)} {
		if err := step(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// secrets finds the shared secrets.
func (f *flags) secrets(c *config) error {
	switch {
	case f.Secret != "" && f.SecretFile != "":
		return errors.New("--secret and --secret-file exclude each other")
	case f.SecretFile != "":
		secrets, err := program.ReadSecrets(f.SecretFile)
		if err != nil {
			return fmt.Errorf("--secret-file: %w", err)
		}
		c.relay.Secrets = secrets
		c.secretArg = "--relay-secret-file " + quote(f.SecretFile)
	case f.Secret != "":
		c.relay.Secrets = []string{f.Secret}
		// Standard output ends up in the logs of most machines: the secret itself is not for there.
		c.secretArg = `--relay-secret "$RUNNEL_RELAY_SECRET"`
		if f.Dev {
			c.secretArg = "--relay-secret " + quote(f.Secret)
		}
	case f.Dev:
		s := rand.Text()
		c.relay.Secrets = []string{s}
		c.secretArg = "--relay-secret " + s
	default:
		return errors.New("no secret: give --secret-file or --secret (or --dev, to try it out)")
	}
	for _, s := range c.relay.Secrets {
		if len(s) < relay.MinSecret {
			return fmt.Errorf("the secret has %d bytes, at least %d are needed; try: openssl rand -hex 32", len(s), relay.MinSecret)
		}
	}
	return nil
}

// quote makes s one word for a shell.
func quote(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=+@%,", r)
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (f *flags) ports(c *config) error {
	first, last, ok := strings.Cut(f.PortRange, "-")
	lo, err := strconv.ParseUint(first, 10, 16)
	hi, err2 := strconv.ParseUint(last, 10, 16)
	if !ok || err != nil || err2 != nil || lo < 1 || hi < lo {
		return fmt.Errorf("--port-range: %q is not MIN-MAX within 1-65535", f.PortRange)
	}
	c.relay.MinPort, c.relay.MaxPort = uint16(lo), uint16(hi)
	return nil
}

// addresses decides what to advertise and where to relay from.
func (f *flags) addresses(c *config) error {
	host := hostAddrs()
	ext := f.ExternalIP.Unmap()
	if !ext.IsValid() {
		ext = guess(c.listen, host, f.Dev)
	}
	switch {
	case !ext.IsValid():
		return errors.New("the public address of the relay is not clear: give --external-ip")
	case !ext.Is4() || ext.IsUnspecified():
		return fmt.Errorf("--external-ip: %v is not an IPv4 address to advertise", ext)
	}
	c.relay.RelayIP = ext
	if !c.relay.BindIP.IsValid() && !ext.IsLoopback() && !slices.Contains(host, ext) {
		c.relay.BindIP = netip.IPv4Unspecified() // behind 1:1 NAT
	}
	return nil
}

// guess returns the one address that can be meant: that of a listener, or the only public one of this machine. With
// --dev it is the loopback address.
func guess(listen []string, host []netip.Addr, dev bool) netip.Addr {
	for _, l := range listen {
		if ap, err := netip.ParseAddrPort(l); err == nil && ap.Addr().Unmap().Is4() && !ap.Addr().IsUnspecified() {
			return ap.Addr().Unmap()
		}
	}
	if dev {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	var public []netip.Addr
	for _, a := range host {
		if a.Is4() && new(relay.Policy).Check(a) == relay.Allowed {
			public = append(public, a)
		}
	}
	if len(public) == 1 {
		return public[0]
	}
	return netip.Addr{}
}

func hostAddrs() (out []netip.Addr) {
	ifs, _ := net.InterfaceAddrs()
	for _, a := range ifs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}

func (f *flags) certificate(log *slog.Logger) func(*config) error {
	return func(c *config) error {
		switch {
		case len(f.TLSListen) == 0 && f.TLSCert == "" && f.TLSKey == "":
			return nil
		case len(f.TLSListen) == 0:
			return errors.New("--tls-cert and --tls-key are of no use without --tls-listen")
		case f.TLSCert == "" || f.TLSKey == "":
			return errors.New("--tls-listen needs --tls-cert and --tls-key")
		}
		cert, err := program.LoadCertificate(f.TLSCert, f.TLSKey, log)
		if err != nil {
			return err
		}
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"stun.turn"}, GetCertificate: cert.Get} // RFC 7443
		return nil
	}
}
