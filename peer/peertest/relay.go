// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
	"github.com/seed-98f0d4c2/runnel/internal/relay"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const (
	relayPort   = 3478
	relaySecret = "peertest relay secret"
	stunServers = 2 // enough to tell whether a NAT maps by endpoint
)

// A relayServer is a relay and STUN server on a host at the core.
type relayServer struct {
	host  *Host
	srv   *relay.Server
	addrs []netip.AddrPort // at which it serves: IPv4, and perhaps IPv6
}

// startServers starts the STUN servers and relays, which are one program, and advises them.
func (n *Network) startServers() {
	n.t.Helper()
	relays := max(n.cfg.Relays, 1)
	if n.cfg.NoRelay {
		relays = 0
	}
	user, credential := relay.Credential(relaySecret, "peertest", time.Now().Add(24*time.Hour))
	var s signaling.Services
	for i := range max(relays, stunServers) {
		r := n.startRelay()
		for _, addr := range r.addrs {
			if i < stunServers {
				s.STUN = append(s.STUN, addr.String())
			}
			if i < relays {
				url := "turn:" + addr.String() + "?transport="
				s.Relays = append(s.Relays, signaling.Relay{URL: url + "udp", Username: user, Credential: credential})
				if n.cfg.RelayTCP {
					s.Relays = append(s.Relays, signaling.Relay{URL: url + "tcp", Username: user, Credential: credential})
				}
			}
		}
		n.relays = append(n.relays, r)
	}
	n.hub.SetServices(s)
}

func (n *Network) startRelay() *relayServer {
	n.t.Helper()
	c := netlab.HostConfig{NAT: netlab.Public}
	if n.cfg.IPv6 {
		c.IPv6 = netlab.DualStack
	}
	h, err := n.lab.AddHostWith(c)
	if err != nil {
		n.t.Fatal(err)
	}
	ips, err := h.LocalAddrs()
	if err != nil {
		n.t.Fatal(err)
	}
	r := &relayServer{host: &Host{n: n, h: h}}
	var conns []net.PacketConn
	var listeners []net.Listener
	for _, ip := range ips {
		pc, err := h.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(ip, relayPort))
		if err != nil {
			n.t.Fatal(err)
		}
		conns = append(conns, pc)
		r.addrs = append(r.addrs, netip.AddrPortFrom(ip, relayPort))
		if !n.cfg.RelayTCP {
			continue
		}
		ln, err := h.Listen(context.Background(), "tcp", netip.AddrPortFrom(ip, relayPort))
		if err != nil {
			n.t.Fatal(err)
		}
		listeners = append(listeners, ln)
	}
	r.srv, err = relay.New(&relay.Config{
		PacketConns: conns,
		Listeners:   listeners,
		RelayIP:     h.PublicAddr(),
		ListenRelay: func(port int) (net.PacketConn, error) {
			return h.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(h.PublicAddr(), uint16(port)))
		},
		HostAddrs:  func() []netip.Addr { return nil }, // those of the machine that runs the test mean nothing here
		Secrets:    []string{relaySecret},
		MaxPerUser: -1,
		AnswerRate: -1,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.srv.Serve() }()
	n.t.Cleanup(func() {
		if err := r.srv.Close(); err != nil {
			n.t.Error(err)
		}
		if err := <-served; !errors.Is(err, relay.ErrClosed) {
			n.t.Error(err)
		}
	})
	return r
}

// Relay returns the address of the first relay, which is a STUN server too.
func (n *Network) Relay() netip.AddrPort { return n.RelayAddr(0) }

// RelayAddr returns the IPv4 address of the i-th relay. The first two are also the STUN servers; with fewer relays, the
// rest up to two are STUN servers only.
func (n *Network) RelayAddr(i int) netip.AddrPort { return n.relays[i].addrs[0] }

// RelayHost returns the host of the i-th relay, to cut its link for a while or to make it slow.
func (n *Network) RelayHost(i int) *Host { return n.relays[i].host }

// KillRelay ends the i-th relay for good, without a word to anybody: its allocations are gone, and nobody answers at its
// address.
func (n *Network) KillRelay(i int) {
	n.t.Helper()
	if err := n.relays[i].srv.Close(); err != nil {
		n.t.Error(err)
	}
}
