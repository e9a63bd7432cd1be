// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peertest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

func TestPathsDependOnSites(t *testing.T) {
	type site = peertest.Site
	wall := site{IPv6: peertest.OnlyIPv6, Firewall: true}
	dual := site{NAT: peertest.SymmetricRandom, IPv6: peertest.DualStack, Firewall: true}
	twice := site{NAT: peertest.PortRestricted}
	for _, tt := range []struct {
		name   string
		a, b   site
		behind bool // a is behind a carrier's NAT, too
		tcp    bool // relays can be reached by TCP
		want   mobility.Kind
		err    error
	}{
		{name: "IPv6 only", a: wall, b: wall, want: mobility.Direct},
		{name: "IPv6 beats hard NATs", a: dual, b: dual, want: mobility.Direct},
		{name: "IPv6 and dual stack", a: wall, b: dual, want: mobility.Direct},
		{name: "no family in common", a: wall, b: site{NAT: peertest.PortRestricted}, want: mobility.Relayed},
		{name: "two NATs", a: twice, b: twice, behind: true, want: mobility.Direct},
		{name: "UDP blocked", a: site{BlockUDP: true}, b: site{}, err: peer.ErrUnreachable},
		{name: "UDP blocked, relay by TCP", a: site{BlockUDP: true}, b: site{}, tcp: true, want: mobility.Relayed},
		{
			name: "UDP blocked for both", a: site{NAT: peertest.Symmetric, BlockUDP: true},
			b: site{NAT: peertest.Symmetric, BlockUDP: true}, tcp: true, want: mobility.Relayed,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, IPv6: true, RelayTCP: tt.tcp})
				if tt.behind {
					tt.a.Behind = n.Host(peertest.FullCone)
				}
				a, b := n.HostAt(tt.a).Endpoint(nil), n.HostAt(tt.b).Endpoint(nil)
				time.Sleep(5 * time.Second) // relays are allocated, also those that had to be tried by UDP first
				s, err := a.Dial(t.Context(), b.ID())
				if !errors.Is(err, tt.err) {
					t.Fatalf("error is %v, want %v", err, tt.err)
				}
				if err != nil {
					return
				}
				time.Sleep(5 * time.Second) // the direct path, if there is one, has taken over
				if got := s.Stats().Path.Kind; got != tt.want {
					t.Errorf("path is %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestChanges looks at a host with the eyes of an endpoint.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := peertest.New(t, nil)
		h, other := n.Host(peertest.PortRestricted), n.Host(peertest.FullCone)
		h.Endpoint(nil)
		other.Endpoint(nil)
		local, public := h.LocalAddrs(), h.Addr()
		moved := func(what string, want bool) {
			t.Helper()
			now := h.LocalAddrs()
			if got := !slices.Equal(now, local); got != want {
				t.Errorf("%s: local addresses %v, before %v, want a change: %v", what, now, local, want)
			}
			local = now
		}
		h.Renumber()
		moved("Renumber", false)
		if h.Addr() == public {
			t.Errorf("Renumber left the public address %v", public)
		}
		h.MoveTo(peertest.Symmetric)
		moved("MoveTo", true)
		h.MoveNextTo(other)
		moved("MoveNextTo", true)
		if h.Addr() != other.Addr() {
			t.Errorf("public address %v, want that of the other host, %v", h.Addr(), other.Addr())
		}
		h.Detach()
		if got := h.LocalAddrs(); len(got) != 0 {
			t.Errorf("a detached host has addresses %v", got)
		}
		h.Attach()
		moved("Attach", false)
		public = h.Addr()
		a := h.AddUplink(peertest.Site{NAT: peertest.SymmetricRandom})
		if h.Addr() != public {
			t.Error("AddUplink changed the default route")
		}
		h.SetUplink(a)
		if got := h.LocalAddrs(); len(got) != 2 || got[0] != a || h.Addr() == public {
			t.Errorf("addresses %v after SetUplink, want two, %v first", got, a)
		}
		h.RemoveUplink(a)
		if h.Addr() != public {
			t.Error("RemoveUplink left the route")
		}
	})
}

func TestRendezvousOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond})
		h := n.Host(peertest.PortRestricted)
		a, b := h.Endpoint(nil), n.Endpoint(peertest.PortRestricted, nil)
		dial := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			s, err := a.Dial(ctx, b.ID())
			if err == nil {
				_ = s.Close(ctx)
				time.Sleep(time.Minute) // nothing is left of it
			}
			return err
		}
		for what, set := range map[string]func(down bool){
			"rendezvous down": n.Hub().SetDown,
			"host offline":    h.SetOffline,
			"host detached": func(down bool) {
				if down {
					h.Detach()
				} else {
					h.Attach()
				}
			},
		} {
			set(true)
			if err := dial(); err == nil {
				t.Errorf("%s: dialled all the same", what)
			}
			set(false)
			if err := dial(); err != nil {
				t.Errorf("after %s: %v", what, err)
			}
		}
	})
}

func TestServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, Relays: 2})
		sig := n.Hub().Join(signaling.PeerID{1})
		sv, err := sig.Services(t.Context())
		if err != nil || len(sv.STUN) != 2 || sv.STUN[0] == sv.STUN[1] || len(sv.Relays) != 2 {
			t.Fatalf("services are %+v, %v, want two STUN servers and two relays", sv, err)
		}
		a, b := n.Endpoint(peertest.SymmetricRandom, nil), n.Endpoint(peertest.SymmetricRandom, nil)
		time.Sleep(time.Second)
		n.KillRelay(0)
		n.KillRelay(0)
		var first int
		defer n.Tap(func(p peertest.Packet) peertest.Verdict {
			if p.From == n.RelayAddr(0) {
				first++
			}
			return peertest.Pass
		})()
		s, err := a.Dial(t.Context(), b.ID())
		if err != nil {
			t.Fatalf("with one of two relays dead: %v", err)
		}
		time.Sleep(time.Second)
		if got := s.Stats().Path.Kind; got != mobility.Relayed {
			t.Errorf("path is %v, want relayed by the relay that is left", got)
		}
		if first != 0 {
			t.Errorf("a dead relay sent %d packets", first)
		}
	})
}
