// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

// TestNATs asks of every kind of NAT who can reach the host behind it after it has sent one packet to a server.
func TestNATs(t *testing.T) {
	tests := []struct {
		nat       netlab.NAT
		otherPort bool // same server, another port
		otherHost bool // a stranger
		sameMap   bool // packets to different servers come from one external endpoint
	}{
		{netlab.Public, true, true, true},
		{netlab.FullCone, true, true, true},
		{netlab.AddressRestricted, true, false, true},
		{netlab.PortRestricted, false, false, true},
		{netlab.Symmetric, false, false, false},
		{netlab.SymmetricRandom, false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.nat.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
				h, server, stranger := l.host(tt.nat), l.host(netlab.Public), l.host(netlab.Public)
				in, s1, s2, other := l.listen(h, 4000), l.listen(server, 1), l.listen(server, 2), l.listen(stranger, 1)

				if tt.nat != netlab.Public {
					for port := uint16(0xC000); port < 0xC008; port++ {
						s1.send(netip.AddrPortFrom(h.PublicAddr(), port), "early")
					}
					in.wantNone("nothing has left the NAT yet")
				}

				in.send(s1.addr(server), "hello")
				ext := s1.want("hello")
				if ext.Addr() != h.PublicAddr() {
					t.Fatalf("server saw %v, want an address of %v", ext, h.PublicAddr())
				}
				s1.send(ext, "answer")
				if from := in.want("answer"); from != s1.addr(server) {
					t.Fatalf("answer came from %v, want %v", from, s1.addr(server))
				}
				for _, probe := range []struct {
					from *sock
					want bool
				}{{s2, tt.otherPort}, {other, tt.otherHost}} {
					probe.from.send(ext, "probe")
					if _, from, ok := in.recv(); ok != probe.want {
						t.Errorf("packet from %v arrived: %v, want %v (%s)", from, ok, probe.want, tt.nat)
					}
				}

				in.send(other.addr(stranger), "hello")
				ext2 := other.want("hello")
				if same := ext2 == ext; same != tt.sameMap {
					t.Errorf("external endpoints %v and %v: same %v, want %v (%s)", ext, ext2, same, tt.sameMap, tt.nat)
				}
				other.send(ext2, "answer")
				in.want("answer")
			})
		})
	}
}

// TestHolePunching lets hosts behind every pair of NATs send to each other's mapping as a server has seen it.
func TestHolePunching(t *testing.T) {
	kinds := []netlab.NAT{netlab.Public, netlab.FullCone, netlab.AddressRestricted, netlab.PortRestricted, netlab.Symmetric}
	for i, a := range kinds {
		for _, b := range kinds[i:] {
			// A symmetric NAT shows the peer a port that nobody has told it, which only a filter that looks at
			// ports minds.
			want := !(b == netlab.Symmetric && (a == netlab.PortRestricted || a == netlab.Symmetric))
			t.Run(a.String()+"/"+b.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
					ha, hb, server := l.host(a), l.host(b), l.host(netlab.Public)
					sa, sb, ss := l.listen(ha, 4000), l.listen(hb, 4000), l.listen(server, 1)
					sa.send(ss.addr(server), "a")
					ea := ss.want("a")
					sb.send(ss.addr(server), "b")
					eb := ss.want("b")
					met := false
					for range 3 {
						sa.send(eb, "from a")
						sb.send(ea, "from b")
						if _, from, ok := sb.recv(); ok { // answer where the packet came from
							sb.send(from, "answer")
						}
						if _, from, ok := sa.recv(); ok {
							met = true
							sa.send(from, "answer")
						}
					}
					if met != want {
						t.Errorf("a packet from b reached a: %v, want %v", met, want)
					}
				})
			})
		}
	}
}

func TestSimultaneousOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		a, b, server := l.host(netlab.PortRestricted), l.host(netlab.PortRestricted), l.host(netlab.Public)
		sa, sb, ss := l.listen(a, 1000), l.listen(b, 1000), l.listen(server, 1)
		sa.send(ss.addr(server), "a")
		ea := ss.want("a")
		sb.send(ss.addr(server), "b")
		eb := ss.want("b")
		sa.send(eb, "first from a")
		sb.send(ea, "first from b")
		sa.want("first from b")
		sb.want("first from a")
	})
}

func TestMappingLifetime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: time.Millisecond, MappingLifetime: 20 * time.Second})
		h, server := l.host(netlab.PortRestricted), l.host(netlab.Public)
		in, s := l.listen(h, 4000), l.listen(server, 1)
		in.send(s.addr(server), "one")
		first := s.want("one")

		time.Sleep(15 * time.Second)
		in.send(s.addr(server), "two") // refreshes
		if got := s.want("two"); got != first {
			t.Fatalf("mapping changed from %v to %v within its lifetime", first, got)
		}
		time.Sleep(15 * time.Second)
		s.send(first, "still there")
		in.want("still there")

		time.Sleep(6 * time.Second) // inbound packets do not refresh
		s.send(first, "too late")
		in.wantNone("the mapping has expired")
		in.send(s.addr(server), "three")
		if got := s.want("three"); got == first {
			t.Fatalf("expired mapping %v was used again", first)
		}
	})
}

func TestRebind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 5 * time.Millisecond})
		h, server := l.host(netlab.FullCone), l.host(netlab.Public)
		in, s := l.listen(h, 4000), l.listen(server, 1)
		seen := make(map[netip.AddrPort]bool)
		for range 5 {
			in.send(s.addr(server), "hello")
			ext := s.want("hello")
			if seen[ext] {
				t.Fatalf("external endpoint %v came back after a reboot", ext)
			}
			seen[ext] = true
			s.send(ext, "answer")
			in.want("answer")
			if err := h.Rebind(); err != nil {
				t.Fatal(err)
			}
			s.send(ext, "to the old endpoint")
			in.wantNone("the NAT has forgotten it, even a full cone")
		}
	})
}

func TestBehindSameNAT(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		a, server := l.host(netlab.PortRestricted), l.host(netlab.Public)
		b, err := l.AddHostBehind(a)
		if err != nil {
			t.Fatal(err)
		}
		sa, sb, ss := l.listen(a, 4000), l.listen(b, 4000), l.listen(server, 1)
		addrs, err := b.LocalAddrs()
		if err != nil || len(addrs) != 1 || !addrs[0].IsPrivate() {
			t.Fatalf("LocalAddrs = %v, %v, want one private address", addrs, err)
		}
		start := time.Now()
		sa.send(netip.AddrPortFrom(addrs[0], 4000), "neighbour")
		sb.want("neighbour")
		if d := time.Since(start); d != 0 {
			t.Errorf("neighbours are %v apart, want no delay", d)
		}
		sa.send(ss.addr(server), "a")
		sb.send(ss.addr(server), "b")
		ea, eb := ss.want("a"), ss.want("b")
		if ea.Addr() != eb.Addr() || ea.Port() == eb.Port() {
			t.Errorf("external endpoints %v and %v, want one address and two ports", ea, eb)
		}
		sa.send(eb, "hairpin")
		sb.wantNone("there is no hairpinning")
		if _, err := l.AddHostBehind(server); err == nil {
			t.Error("AddHostBehind a public host succeeded, want an error")
		}
	})
}
