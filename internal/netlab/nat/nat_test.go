// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package nat_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab/nat"
)

var (
	public = netip.MustParseAddr("5.0.0.1")
	in1    = netip.MustParseAddrPort("10.0.0.2:4000")
	in2    = netip.MustParseAddrPort("10.0.0.3:4000")
	// Two ports of one remote host, and another host.
	r1     = netip.MustParseAddrPort("7.0.0.1:1")
	r1b    = netip.MustParseAddrPort("7.0.0.1:2")
	r2     = netip.MustParseAddrPort("8.0.0.1:1")
	epoch  = time.Unix(1e9, 0)
	allDep = []nat.Dependence{nat.EndpointIndependent, nat.AddressDependent, nat.AddressAndPortDependent}
)

type table struct {
	t *testing.T
	*nat.NAT
	now time.Time
}

func newTable(t *testing.T, c nat.Config) *table {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return &table{t, nat.New(public, &c), epoch}
}

// out fails the test unless the packet passes.
func (n *table) out(inside, remote netip.AddrPort) netip.AddrPort {
	n.t.Helper()
	a, ok := n.Out(n.now, inside, remote)
	if !ok {
		n.t.Fatalf("packet from %v to %v was refused", inside, remote)
	}
	return a
}

func (n *table) refused(inside, remote netip.AddrPort, why string) {
	n.t.Helper()
	if a, ok := n.Out(n.now, inside, remote); ok {
		n.t.Fatalf("packet from %v to %v left as %v, want it refused: %s", inside, remote, a, why)
	}
}

// TestMappingAndFiltering walks the nine kinds of NAT of RFC 4787 §4.1 and §5.
func TestMappingAndFiltering(t *testing.T) {
	for _, mapping := range allDep {
		for _, filtering := range allDep {
			t.Run(fmt.Sprintf("%d/%d", mapping, filtering), func(t *testing.T) {
				n := newTable(t, nat.Config{Mapping: mapping, Filtering: filtering})
				if _, ok := n.In(n.now, r1, netip.AddrPortFrom(public, 0xC000)); ok {
					t.Error("a packet came in before any had left")
				}
				a := n.out(in1, r1)
				for _, tt := range []struct {
					to   netip.AddrPort
					same bool // as the mapping for r1
					in   bool // may send to that mapping though nothing was sent to it
				}{
					{r1, true, true},
					{r1b, mapping <= nat.AddressDependent, filtering <= nat.AddressDependent},
					{r2, mapping == nat.EndpointIndependent, filtering == nat.EndpointIndependent},
				} {
					to, ok := n.In(n.now, tt.to, a)
					if ok != tt.in || ok && to != in1 {
						t.Errorf("from %v to %v: got %v, %v, want %v", tt.to, a, to, ok, tt.in)
					}
				}
				if b := n.out(in1, r1b); (b == a) != (mapping <= nat.AddressDependent) {
					t.Errorf("to another port: %v, first %v", b, a)
				}
				if b := n.out(in1, r2); (b == a) != (mapping == nat.EndpointIndependent) {
					t.Errorf("to another address: %v, first %v", b, a)
				}
				if b := n.out(in2, r1); b == a {
					t.Errorf("two inside endpoints share %v", a)
				}
			})
		}
	}
}

func TestSequentialPorts(t *testing.T) {
	for _, step := range []int{0, 1, 2, 100} {
		n := newTable(t, nat.Config{Mapping: nat.AddressAndPortDependent, Step: step})
		last := n.out(in1, r1).Port()
		for i := range 2000 { // over the end of the range
			got := n.out(in1, netip.AddrPortFrom(r2.Addr(), uint16(i+1))).Port()
			want := int(last) + max(step, 1)
			if want > 65535 {
				want -= 64512
			}
			if int(got) != want {
				t.Fatalf("step %d: port %d after %d, want %d", step, got, last, want)
			}
			last = got
		}
	}
}

func TestBackgroundTakesPorts(t *testing.T) {
	n := newTable(t, nat.Config{Mapping: nat.AddressAndPortDependent, Background: 50, Step: 2})
	first := n.out(in1, r1).Port()
	n.now = n.now.Add(20 * time.Second)
	if got := int(n.out(in1, r2).Port()-first)/2 - 1; got < 850 || got > 1150 {
		t.Errorf("others used %d ports in 20 s, want about 1000", got)
	}
	n.now = n.now.Add(1000 * time.Hour) // must not take long
	n.out(in2, r2)
}

func TestRandomPorts(t *testing.T) {
	ports := func(seed uint64) (all [4000]uint16) {
		n := newTable(t, nat.Config{Mapping: nat.AddressAndPortDependent, Ports: nat.Random, Seed: seed})
		for i := range all {
			all[i] = n.out(in1, netip.AddrPortFrom(r1.Addr(), uint16(i+1))).Port()
		}
		return all
	}
	a := ports(1)
	if a != ports(1) {
		t.Error("the same seed gave other ports")
	}
	if a == ports(2) {
		t.Error("another seed gave the same ports")
	}
	var quarter [4]int
	for _, p := range a {
		if p < 1024 {
			t.Fatalf("port %d, want none below 1024", p)
		}
		quarter[(int(p)-1024)*4/64512]++
	}
	for i, c := range quarter {
		if c < 850 || c > 1150 {
			t.Errorf("%d of %d ports in quarter %d, want about a quarter", c, len(a), i)
		}
	}
}

func TestPreservingPorts(t *testing.T) {
	n := newTable(t, nat.Config{Ports: nat.Preserving})
	if got := n.out(in1, r1).Port(); got != 4000 {
		t.Errorf("port 4000 became %d", got)
	}
	if got := n.out(in2, r1).Port(); got != 4001 {
		t.Errorf("port 4000, which is taken, became %d, want the next one", got)
	}
	n.Restart()
	if got := n.out(in2, r1).Port(); got != 4000 {
		t.Errorf("after a restart port 4000, which is free, became %d", got)
	}
	if got := n.out(netip.AddrPortFrom(in1.Addr(), 65535), r1).Port(); got != 65535 {
		t.Errorf("port 65535 became %d", got)
	}
	if got := n.out(netip.AddrPortFrom(in2.Addr(), 65535), r1).Port(); got != 1024 {
		t.Errorf("port 65535, which is taken, became %d, want 1024", got)
	}
}

func TestLifetime(t *testing.T) {
	for _, inbound := range []bool{false, true} {
		n := newTable(t, nat.Config{
			Filtering: nat.AddressAndPortDependent, Lifetime: 20 * time.Second, RefreshInbound: inbound,
		})
		a := n.out(in1, r1)
		n.out(in1, r2)
		for range 3 {
			n.now = n.now.Add(15 * time.Second)
			if b := n.out(in1, r1); b != a {
				t.Fatalf("mapping %v became %v though packets went out", a, b)
			}
		}
		if _, ok := n.In(n.now, r2, a); ok {
			t.Error("the permission of an endpoint to which nothing went lived as long as the mapping")
		}
		n.now = n.now.Add(15 * time.Second)
		if _, ok := n.In(n.now, r1, a); !ok {
			t.Error("no way in within the lifetime")
		}
		n.now = n.now.Add(15 * time.Second)
		if _, ok := n.In(n.now, r1, a); ok != inbound {
			t.Errorf("way in after 30 s with one inbound packet: %v, want %v", ok, inbound)
		}
		n.now = n.now.Add(20*time.Second + 1)
		if m, s := n.Len(n.now); m != 0 || s != 0 {
			t.Errorf("%d mappings and %d sessions are left, want none", m, s)
		}
	}
}

func TestLimits(t *testing.T) {
	n := newTable(t, nat.Config{
		Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent, MaxMappings: 2, Lifetime: time.Second,
	})
	n.out(in1, r1)
	n.out(in1, r2)
	n.refused(in2, r1, "the table is full")
	n.out(in1, r1)
	n.now = n.now.Add(time.Second + 1)
	n.out(in2, r1)

	n = newTable(t, nat.Config{Filtering: nat.AddressAndPortDependent, MaxSessions: 2})
	n.out(in1, r1)
	n.out(in1, r2)
	n.refused(in1, r1b, "one mapping, but too many remote endpoints")
	n.out(in1, r2)

	n = newTable(t, nat.Config{Filtering: nat.AddressAndPortDependent, NewPerSecond: 10})
	for i := range 10 {
		n.out(in1, netip.AddrPortFrom(r1.Addr(), uint16(i+1)))
	}
	n.refused(in1, r2, "the 11th in a second")
	n.out(in1, r1)
	n.now = n.now.Add(150 * time.Millisecond)
	n.out(in1, r2)
	n.refused(in2, r2, "the 12th in 1.15 s")
	if s := n.Stats(); s.Refused != 2 || s.Mappings != 1 || s.Sessions != 11 {
		t.Errorf("stats are %+v, want 2 refused, 1 mapping, 11 sessions", s)
	}
}

func TestHairpin(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		n := newTable(t, nat.Config{Filtering: nat.AddressAndPortDependent, Hairpin: hairpin})
		a, b := n.out(in1, r1), n.out(in2, r1)
		if got := n.out(in1, b); got != a {
			t.Fatalf("to its own NAT %v left as %v, want %v", in1, got, a)
		}
		if _, ok := n.Hairpin(n.now, a, b); ok {
			t.Error("the filter does not hold for hosts inside")
		}
		n.out(in2, a)
		if to, ok := n.Hairpin(n.now, a, b); ok != hairpin || ok && to != in2 {
			t.Errorf("hairpin %v: got %v, %v, want %v", hairpin, to, ok, in2)
		}
	}
}

func TestRestartChangesPorts(t *testing.T) {
	for _, ports := range []nat.Ports{nat.Sequential, nat.Random} {
		n := newTable(t, nat.Config{Ports: ports})
		seen := make(map[netip.AddrPort]bool)
		for range 10 {
			a := n.out(in1, r1)
			if seen[a] {
				t.Fatalf("%v came back after a restart", a)
			}
			seen[a] = true
			n.Restart()
			if _, ok := n.In(n.now, r1, a); ok {
				t.Errorf("%v survived a restart", a)
			}
		}
		n.SetAddr(r2.Addr())
		if a := n.out(in1, r1); a.Addr() != r2.Addr() {
			t.Errorf("outside address is %v, want %v", a, r2.Addr())
		}
	}
}

func TestFirewall(t *testing.T) {
	n := &table{t, nat.NewFirewall(&nat.Config{Filtering: nat.AddressAndPortDependent}), epoch}
	host := netip.MustParseAddrPort("[2a05::2]:4000")
	peer, stranger := netip.MustParseAddrPort("[2a05:1::2]:1"), netip.MustParseAddrPort("[2a05:2::2]:1")
	if got := n.out(host, peer); got != host {
		t.Errorf("a firewall changed %v to %v", host, got)
	}
	if got, ok := n.In(n.now, peer, host); !ok || got != host {
		t.Errorf("an answer: got %v, %v, want it to pass unchanged", got, ok)
	}
	if _, ok := n.In(n.now, stranger, host); ok {
		t.Error("a stranger passed")
	}
}

func TestConfigCheck(t *testing.T) {
	for _, c := range []nat.Config{
		{Mapping: 3},
		{Filtering: 3},
		{Ports: 3},
		{Step: -1},
		{Step: 2000},
		{Lifetime: -1},
		{MaxMappings: -1},
		{MaxMappings: 1 << 20},
		{MaxSessions: -1},
		{MaxSessions: 1 << 20},
		{NewPerSecond: -1},
		{Background: -1},
	} {
		if err := c.Check(); !errors.Is(err, nat.ErrConfig) {
			t.Errorf("%+v: %v, want ErrConfig", c, err)
		}
	}
}
