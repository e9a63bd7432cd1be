// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// network is what all commands that use the network have in common.
type network struct {
	Rendezvous string         `help:"Rendezvous server, ws:// or wss://." placeholder:"URL"`
	Key        string         `help:"File with the identity to use, not that of a program that is running. Default: one made for this run." placeholder:"FILE" type:"existingfile"`
	STUN       []string       `name:"stun" help:"STUN server, beside those that the rendezvous advises. Repeatable." placeholder:"HOST:PORT"`
	Relay      []string       `help:"TURN URL, beside those that the rendezvous advises. Repeatable." placeholder:"URL"`
	RelayUser  string         `help:"User name at the relays given here." placeholder:"NAME"`
	RelayPass  string         `name:"relay-password" help:"Password at the relays given here. Others can see it in the list of processes: prefer the environment." placeholder:"TEXT"`
	Listen     netip.AddrPort `help:"Local UDP address. Default: any port on all interfaces." placeholder:"IP:PORT"`
	Loopback   bool           `help:"Also use loopback addresses, for peers on this machine."`
	LogLevel   string         `help:"off, error, warn, info or debug; to standard error." enum:"off,error,warn,info,debug" default:"off"`
}

// target is a peer to dial.
type target struct {
	Peer string `arg:"" help:"The peer: ID, or ID@host:port."`
	LAN  bool   `name:"lan" help:"Look for the peer on the local network, too."`
}

func (n *network) log(w io.Writer) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(n.LogLevel)) != nil { // off
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}

func (n *network) identity() (ed25519.PrivateKey, error) {
	if n.Key == "" {
		return signaling.GenerateKey()
	}
	return signaling.LoadKey(n.Key)
}

func (n *network) relays() []signaling.Relay {
	var out []signaling.Relay
	for _, u := range n.Relay {
		out = append(out, signaling.Relay{URL: u, Username: n.RelayUser, Credential: n.RelayPass})
	}
	return out
}

// endpoint starts an endpoint as the flags say.
func (n *network) endpoint(ctx context.Context, t *target, log *slog.Logger) (*peer.Endpoint, error) {
	key, err := n.identity()
	if err != nil {
		return nil, err
	}
	cfg := &peer.Config{
		Key: key, ListenAddr: n.Listen, Loopback: n.Loopback, LAN: t.LAN, STUN: n.STUN, Relays: n.relays(), Log: log,
	}
	if n.Rendezvous == "" {
		return peer.Listen(ctx, cfg)
	}
	client, err := signaling.NewClient(n.Rendezvous, key, &signaling.ClientConfig{Log: log})
	if err != nil {
		return nil, err
	}
	cfg.Signaler = client
	ep, err := peer.Listen(ctx, cfg)
	if err != nil {
		_ = client.Close()
	}
	return ep, err
}

// dial starts an endpoint as the flags say, to be closed by the caller, and dials the peer.
func (n *network) dial(ctx context.Context, t *target, log io.Writer) (*peer.Endpoint, *peer.Session, error) {
	to, err := t.parse(ctx)
	if err != nil {
		return nil, nil, err
	}
	ep, err := n.endpoint(ctx, t, n.log(log))
	if err != nil {
		return nil, nil, err
	}
	s, err := ep.DialTarget(ctx, to)
	if err != nil {
		closeEndpoint(ep)
		return nil, nil, err
	}
	return ep, s, nil
}

// closeTime is for saying goodbye.
const closeTime = 2 * time.Second

func closeEndpoint(ep *peer.Endpoint) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_ = ep.Close(ctx)
}

// parse parses the peer and looks up its host.
func (t *target) parse(ctx context.Context) (peer.Target, error) {
	id, at, known := strings.Cut(t.Peer, "@")
	p, err := signaling.ParsePeerID(id)
	if err != nil || !known {
		return peer.Target{ID: p}, err
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return peer.Target{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return peer.Target{}, fmt.Errorf("%s: bad port", at)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return peer.Target{}, err
	}
	out := peer.Target{ID: p}
	for _, ip := range ips {
		out.Addrs = append(out.Addrs, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
	}
	return out, nil
}
