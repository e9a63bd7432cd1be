// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A node is what makes this process a peer.
type node struct {
	Rendezvous string         `help:"Rendezvous server, ws:// or wss://. Without one, peers are named ID@host:port." placeholder:"URL"`
	Key        string         `help:"File with this peer's key, made when there is none. Default: a new identity." placeholder:"FILE" type:"path"`
	Listen     netip.AddrPort `help:"Local UDP address. Default: any port on all interfaces." placeholder:"IP:PORT"`
	Loopback   bool           `help:"Also use loopback addresses, for peers on this machine."`
}

// start makes the endpoint. It waits until the rendezvous, if there is one, knows it.
func (n *node) start(ctx context.Context) (*peer.Endpoint, error) {
	key, err := signaling.GenerateKey()
	if n.Key != "" {
		key, err = signaling.LoadOrCreateKey(n.Key)
	}
	if err != nil {
		return nil, err
	}
	cfg := &peer.Config{Key: key, ListenAddr: n.Listen, Loopback: n.Loopback}
	if n.Rendezvous != "" {
		client, err := signaling.NewClient(n.Rendezvous, key, nil)
		if err != nil {
			return nil, err
		}
		if _, err := client.Services(ctx); err != nil {
			_ = client.Close()
			return nil, err
		}
		cfg.Signaler = client
	}
	return peer.Listen(ctx, cfg)
}

// reach establishes a session with the peer that target names, ID or ID@host:port, and returns the ID. Whoever dials
// the peer from then on uses that session.
func reach(ctx context.Context, ep *peer.Endpoint, target string) (peer.ID, error) {
	text, hostPort, known := strings.Cut(target, "@")
	id, err := signaling.ParsePeerID(text)
	if err != nil {
		return id, err
	}
	t := peer.Target{ID: id}
	if known {
		addr, err := net.ResolveUDPAddr("udp", hostPort)
		if err != nil {
			return id, err
		}
		t.Addrs = []netip.AddrPort{addr.AddrPort()}
	}
	_, err = ep.DialTarget(ctx, t)
	if errors.Is(err, peer.ErrNoSignaler) {
		err = fmt.Errorf("without --rendezvous a peer is named ID@host:port, as serve prints it: %w", err)
	}
	return id, err
}

// stop closes the endpoint in good order, but not for ever.
func stop(ep *peer.Endpoint) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = ep.Close(ctx)
}
