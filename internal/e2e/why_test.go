// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// diagnoseTime is for a command of the runnel tool to end.
const diagnoseTime = 60 * time.Second

// blocked is a site that UDP does not leave.
var blocked = &netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv4, BlockUDP: true}

// tool runs a command of the runnel tool at a site until it ends, and wants an exit code.
func (l *lab) tool(at *netns.SiteConfig, want int, args ...string) *process {
	l.t.Helper()
	h := l.Site("tool", at).Host("tool")
	p := start(l.t, h, "runnel", program("runnel"), append(args, "--rendezvous", l.url)...)
	select {
	case <-p.done:
	case <-time.After(diagnoseTime):
		l.t.Fatalf("runnel %v has not ended after %v", args, diagnoseTime)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		l.t.Errorf("runnel %v ended with %d, want %d", args, got, want)
	}
	return p
}

func TestWhy(t *testing.T) {
	tests := []struct {
		name       string
		here, peer *netns.SiteConfig
		code       int
		says       string
	}{
		{"direct", cone, cone, 0, `^path: direct `},
		{"two random symmetric NATs", symmetric, symmetric, 3, `^what would help: Both NATs give every destination a random port: enable port mapping`},
		{"udp blocked here", blocked, cone, 3, `^what would help: UDP does not leave this network: allow it`},
		{"udp blocked there", cone, blocked, 3, `^what would help: .*(the peer its address: allow UDP|UDP does not leave its network)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, labConfig{stuns: true})
			bob := l.chat(l.Site("b", tt.peer).Host("bob"), "bob")
			l.tool(tt.here, tt.code, "why", bob.id).expect(time.Second, tt.says)
		})
	}
}

func TestPing(t *testing.T) {
	l := newLab(t, labConfig{})
	bob := l.chat(l.Site("b", symmetric).Host("bob"), "bob")
	l.tool(cone, 0, "ping", bob.id, "-c", "3", "-i", "100ms").expect(time.Second, `^3 sent, 3 answered`)
}

func TestDoctor(t *testing.T) {
	tests := []struct {
		name string
		at   *netns.SiteConfig
		code int
		says []string
	}{
		{"cone", cone, 0, []string{
			`^ok +rendezvous `, `^ok +clock `, `^ok +udp IPv4 +2 of 2 `, `^ok +nat +endpoint-independent`, `^ok +relay .*transport=udp: .*echo`,
			`^ok +relay .*transport=tcp: .*echo`, `^note +filtering +only those are let in`, `^ok +mtu .* 1500 bytes`,
		}},
		{"symmetric", symmetric, 3, []string{`^warn +nat +address-dependent, ports random`, `port mapping \(UPnP, NAT-PMP or PCP\) on the router`}},
		{"udp blocked", blocked, 1, []string{`^fail +udp IPv4 `, `Allow outgoing UDP`, `^warn +relay .*transport=udp: no answer`, `^ok +relay .*transport=tcp`}},
		{"small mtu", &netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv4, MTU: 1280}, 0, []string{`^ok +mtu .* 1280 bytes`}},
		{"public", nil, 0, []string{`^ok +nat +none`, `^ok +filtering `, `^ok +port mapping not needed`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, labConfig{stuns: true})
			p := l.tool(tt.at, tt.code, "doctor")
			for _, says := range tt.says {
				p.expect(time.Second, says)
			}
		})
	}
}
