// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

func TestExplainDirect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
		a, b := net.Endpoint(peertest.PortRestricted, nil), net.Endpoint(peertest.PortRestricted, nil)
		settle(t)
		s, _ := meet(t, a, b)
		time.Sleep(5 * time.Second)
		x := s.Explain()
		if x.State != peer.StateDirect || x.Remedy != "" || x.Error != "" {
			t.Errorf("a direct session is %q, remedy %q, error %q", x.State, x.Remedy, x.Error)
		}
		if x.Path == nil || x.Path.Kind != "direct" || x.Path.Why == "" || x.Path.Heard.IsZero() {
			t.Fatalf("path in use is %+v", x.Path)
		}
		if x.Path.Named != "srflx" {
			t.Errorf("the peer's address is its %q candidate, want srflx", x.Path.Named)
		}
		if x.Peer != b.ID() || !x.Dialled || x.Policy != "direct" || len(x.Local) == 0 || len(x.Remote) == 0 {
			t.Errorf("facts are missing: %+v", x)
		}
		if x.NAT.Mapping != "endpoint-independent" {
			t.Errorf("NAT is %v, want endpoint-independent", x.NAT)
		}
		if len(x.STUN) != 2 || !x.STUN[0].Mapped.IsValid() {
			t.Errorf("STUN servers are %v, want two that answer", x.STUN)
		}
		if len(x.Relays) == 0 || !x.Relays[0].Relayed.IsValid() || x.Relays[0].URL == "" || x.Relays[0].Since.IsZero() {
			t.Errorf("relays are %+v, want one with an allocation", x.Relays)
		}
		relay := slices.IndexFunc(x.Paths, func(p peer.PathFacts) bool { return p.State == peer.PathWorks && p.Kind == "relayed" })
		if relay < 0 || x.Paths[relay].Answers == 0 || x.Paths[relay].Tried.IsZero() {
			t.Errorf("no relayed path that was tried and works among %+v", x.Paths)
		}
		host := slices.IndexFunc(x.Paths, func(p peer.PathFacts) bool { return p.Named == "host" })
		if host < 0 || x.Paths[host].State != peer.PathSilent || !strings.Contains(x.Paths[host].Why, "another network") {
			t.Errorf("the peer's private address should have been tried in vain: %+v", x.Paths)
		}
		if n := len(x.Timeline); n < 4 || x.Timeline[n-1].Name != "ready" || x.Timeline[2].Took != 40*time.Millisecond {
			t.Errorf("timeline is %v", x.Timeline)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if x := s.Explain(); x.State != peer.StateClosed || x.Error == "" || len(x.Paths) == 0 {
			t.Errorf("after Close: %q, %q, %d paths; want closed, why, and the paths at the end", x.State, x.Error, len(x.Paths))
		}
		time.Sleep(time.Minute)
		if x := s.Explain(); x.State != peer.StateClosed || len(x.Paths) == 0 {
			t.Errorf("long after Close: %q, %d paths", x.State, len(x.Paths))
		}
	})
}

// TestExplainRelayed wants the sentence that helps.
func TestExplainRelayed(t *testing.T) {
	random := peertest.Site{NAT: peertest.SymmetricRandom}
	restricted := peertest.Site{NAT: peertest.PortRestricted}
	blocked := peertest.Site{NAT: peertest.PortRestricted, BlockUDP: true}
	tests := []struct {
		name string
		a, b peertest.Site
		cfg  *peer.Config
		at   time.Duration
		want string
	}{
		{"random × random", random, random, nil, 10 * time.Second, "Both NATs give every destination a random port: enable port mapping (UPnP, NAT-PMP or PCP) on one router, or use IPv6."},
		{"early", random, random, nil, time.Second, "still being looked for"},
		{"policy", restricted, restricted, &peer.Config{Addresses: everybody(peer.RelayOnly)}, time.Second, "address policy for this peer is relay only"},
		{"peer's policy", restricted, restricted, nil, time.Second, "its address policy hides them"},
		{"waits for AllowDirect", restricted, restricted, &peer.Config{Addresses: everybody(peer.DirectAfterAccept)}, time.Second, "AllowDirect"},
		{"blocked here", blocked, restricted, nil, 8 * time.Second, "UDP does not leave this network"},
		{"blocked there", restricted, blocked, nil, 20 * time.Second, "the peer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, RelayTCP: tt.a.BlockUDP || tt.b.BlockUDP})
				var theirs *peer.Config
				if tt.name == "peer's policy" {
					theirs = &peer.Config{Addresses: everybody(peer.RelayOnly)}
				}
				a, b := net.HostAt(tt.a).Endpoint(tt.cfg), net.HostAt(tt.b).Endpoint(theirs)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				s, _ := meet(t, a, b)
				time.Sleep(tt.at)
				x := s.Explain()
				if x.State != peer.StateRelayed || !strings.Contains(x.Remedy, tt.want) {
					t.Errorf("%q with remedy %q, want relayed and %q\n%v", x.State, x.Remedy, tt.want, x)
				}
				if tt.name == "random × random" {
					if !strings.HasPrefix(x.NAT.Ports, "random") || !strings.HasPrefix(x.PeerNAT.Ports, "random") || x.PeerNAT.Guessed || len(x.Punches) == 0 {
						t.Errorf("NAT %v, peer's %v, attempts %v; want two random ones, and what was tried", x.NAT, x.PeerNAT, x.Punches)
					}
				}
			})
		})
	}
}

func TestExplainStalled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
		here, there := net.Host(peertest.PortRestricted), net.Host(peertest.PortRestricted)
		a, b := here.Endpoint(nil), there.Endpoint(nil)
		settle(t)
		s, _ := meet(t, a, b)
		time.Sleep(2 * time.Second)
		there.SetOffline(true)
		time.Sleep(40 * time.Second)
		x := s.Explain()
		if x.State != peer.StateStalled || !strings.Contains(x.Remedy, "nothing comes back from the peer") {
			t.Errorf("peer offline: %q, remedy %q", x.State, x.Remedy)
		}
		if since := x.At.Sub(x.Since); since < 20*time.Second || since > 45*time.Second || x.StalledFor != since || x.Stalls != 1 {
			t.Errorf("stalled for %v since %v before; %d stalls", x.StalledFor, since, x.Stalls)
		}
		there.SetOffline(false)
		time.Sleep(5 * time.Second)
		if x := s.Explain(); x.State != peer.StateDirect || len(x.Decisions) < 2 {
			t.Errorf("back online: %q, decisions %v", x.State, x.Decisions)
		}
		here.Detach()
		time.Sleep(20 * time.Second)
		if x := s.Explain(); x.State != peer.StateStalled || !strings.Contains(x.Remedy, "connect it to a network") || len(x.Changes) == 0 {
			t.Errorf("detached: %q, remedy %q, changes %v", x.State, x.Remedy, x.Changes)
		}
		here.Attach()
		time.Sleep(20 * time.Second)
		if x := s.Explain(); x.State != peer.StateDirect {
			t.Errorf("attached again: %q", x.State)
		}
		here.SetOffline(true)
		<-s.Done()
		if x := s.Explain(); x.State != peer.StateClosed || !strings.Contains(x.Remedy, "its own network is down") {
			t.Errorf("offline until the end: %q, remedy %q", x.State, x.Remedy)
		}
	})
}

func TestExplainFailedDial(t *testing.T) {
	tests := []struct {
		name string
		a, b peertest.Site
		cfg  *peer.Config
		off  bool
		want string
	}{
		{"unknown", peertest.Site{}, peertest.Site{}, nil, true, "Nobody is registered under this ID"},
		{"refused", peertest.Site{}, peertest.Site{}, &peer.Config{Authorize: func(context.Context, peer.ID) error { return errors.New("no") }}, false, "does not want to talk"},
		{"no way", peertest.Site{BlockUDP: true}, peertest.Site{}, nil, false, "UDP does not leave this network"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
				a, b := net.HostAt(tt.a).Endpoint(nil), net.HostAt(tt.b).Endpoint(tt.cfg)
				time.Sleep(20 * time.Second)
				if tt.off {
					_ = b.Close(t.Context())
				}
				_, err := a.Dial(t.Context(), b.ID())
				var dial *peer.DialError
				if !errors.As(err, &dial) || dial.Explanation == nil {
					t.Fatalf("Dial returned %v, want a DialError that explains itself", err)
				}
				x := dial.Explanation
				if x.State != peer.StateFailed || !strings.Contains(x.Remedy, tt.want) || x.Error != err.Error() {
					t.Errorf("%q, %q, remedy %q; want failed, %q, %q\n%v", x.State, x.Error, x.Remedy, err, tt.want, x)
				}
				if strings.Contains(err.Error(), "stun") || len(err.Error()) > 200 {
					t.Errorf("the error prints the explanation: %v", err)
				}
			})
		})
	}
}

// The report has everything that a person may ask for, and the JSON all of the report.
func TestExplainText(t *testing.T) {
	bubble(t, func(t *testing.T) {
		net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond})
		a, b := net.Endpoint(peertest.SymmetricRandom, nil), net.Endpoint(peertest.SymmetricRandom, nil)
		settle(t)
		s, _ := meet(t, a, b)
		time.Sleep(10 * time.Second)
		x := s.Explain()
		text := x.String()
		for _, want := range []string{
			"peer " + b.ID().Short() + ": relayed", "path: relayed ", "what would help: Both NATs", "address policy: direct",
			"NAT here: address-dependent, ports random", "; peer's: address-dependent, ports random", "challenges answered",
			"told the peer: ", "the peer told: ", "stun ", "relay ", "port mapping: ", "timeline: start +0s, ", "switches ", "one of them at random",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the report lacks %q", want)
			}
		}
		j, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(j, &fields); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"peer", "at", "state", "since", "remedy", "policy", "path", "paths", "local", "remote", "nat", "peer_nat", "stun", "relays",
			"punches", "decisions", "timeline", "switches", "stalls", "stalled_for_ns",
		} {
			if _, ok := fields[want]; !ok {
				t.Errorf("the JSON lacks %q: %s", want, j)
			}
		}
		var back peer.Explanation
		if err := json.Unmarshal(j, &back); err != nil {
			t.Fatal(err)
		}
		if back.String() != text {
			t.Errorf("after JSON the report is\n%s\nwant\n%s", back.String(), text)
		}
	})
}
