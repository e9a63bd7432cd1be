// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// How long the tests wait. On an idle machine everything but files takes less than a second.
const (
	startTime   = 20 * time.Second // for a program to start
	connectTime = 20 * time.Second // for a session
	talkTime    = 10 * time.Second // for a line to be delivered
)

// secret is shared by the rendezvous and the relays.
const secret = "a secret for the relay of a test"

// A lab is an internet with servers: a rendezvous, and a relay on another host, which also answers STUN.
type lab struct {
	*netns.Net
	t       *testing.T
	servers *netns.Site

	rendezvousHost *netns.Host
	relayHost      *netns.Host
	rendezvous     *process
	relay          *process
	spareHost      *netns.Host // of the second relay, if there is one
	spare          *process
	url            string   // of the rendezvous
	advice         []string // flags of the rendezvous about the relay
	secretFile     string
}

// A labConfig says in what a lab differs from one with our relay over UDP and IPv4.
type labConfig struct {
	ipv6   bool // the servers are reached over IPv6
	tcp    bool // clients are told to use the relay over TCP, not over UDP and otherwise over TCP
	coturn bool // the relay is coturn
	stuns  bool // clients are told of two STUN addresses, by which they see what their NAT does
	spare  bool // there is a second relay
}

func newLab(t *testing.T, c labConfig) *lab {
	t.Helper()
	n := netns.New(t)
	l := &lab{Net: n, t: t, servers: n.Site("servers", nil), secretFile: filepath.Join(t.TempDir(), "secret")}
	if err := os.WriteFile(l.secretFile, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.rendezvousHost, l.relayHost = l.servers.Host("rendezvous"), l.servers.Host("relay")
	if c.coturn {
		l.startCoturn()
	} else {
		l.startRelay()
	}
	at, relay := l.rendezvousHost.Addr(), netip.AddrPortFrom(l.relayHost.Addr(), relayPort).String()
	if c.ipv6 {
		at, relay = l.rendezvousHost.Addr6(), netip.AddrPortFrom(l.relayHost.Addr6(), relayPort).String()
	}
	l.advice = []string{"--stun", relay, "--relay", "turn:" + relay + "?transport=tcp"}
	if !c.tcp {
		l.advice = append(l.advice, "--relay", "turn:"+relay+"?transport=udp")
	}
	if c.stuns {
		l.advice = append(l.advice, "--stun", netip.AddrPortFrom(l.relayHost.Addr(), stunPort).String())
	}
	if c.spare {
		l.spareHost = l.servers.Host("spare")
		l.spare = l.relayAt(l.spareHost)
		l.advice = append(l.advice, "--relay", "turn:"+netip.AddrPortFrom(l.spareHost.Addr(), relayPort).String()+"?transport=udp")
	}
	l.startRendezvous(netip.AddrPortFrom(at, 8080))
	return l
}

const (
	relayPort = 3478
	stunPort  = 3479 // at which there is no relay
)

// startRendezvous starts the rendezvous, also again.
func (l *lab) startRendezvous(at netip.AddrPort) {
	l.t.Helper()
	args := append([]string{"--dev", "--listen", at.String(), "--relay-secret-file", l.secretFile}, l.advice...)
	l.rendezvous = start(l.t, l.rendezvousHost, "rendezvous", program("rendezvous"), args...)
	l.url = l.rendezvous.expect(startTime, `^listening url=(\S+)`)[1]
}

// startRelay starts our relay at both addresses of its host, also again.
func (l *lab) startRelay() {
	l.t.Helper()
	l.relay = l.relayAt(l.relayHost)
}

func (l *lab) relayAt(h *netns.Host) *process {
	l.t.Helper()
	p := start(l.t, h, "relay", program("relay"),
		"--listen", netip.AddrPortFrom(h.Addr(), relayPort).String(),
		"--listen", netip.AddrPortFrom(h.Addr6(), relayPort).String(),
		"--stun-listen", netip.AddrPortFrom(h.Addr(), stunPort).String(),
		"--secret-file", l.secretFile, "--log-format", "text", "--log-level", "debug")
	p.expect(startTime, `^listening udp=`)
	return p
}
