// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

func (l *lab) hostWith(c netlab.HostConfig) *netlab.Host {
	l.t.Helper()
	h, err := l.AddHostWith(c)
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

func TestNATBehindNAT(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		isp, server := l.host(netlab.Symmetric), l.host(netlab.Public)
		home := l.hostWith(netlab.HostConfig{NAT: netlab.PortRestricted, Behind: isp})
		other := l.hostWith(netlab.HostConfig{NAT: netlab.FullCone, Behind: isp})
		sh, so, s1, s2 := l.listen(home, 1), l.listen(other, 1), l.listen(server, 1), l.listen(server, 2)

		start := time.Now()
		sh.send(s1.addr(server), "x")
		e1 := s1.want("x")
		if d := time.Since(start); d != 20*time.Millisecond {
			t.Errorf("the packet took %v, want 20ms: there is one link to the core", d)
		}
		if e1.Addr() != isp.PublicAddr() || home.PublicAddr() != isp.PublicAddr() {
			t.Errorf("packet from %v, home at %v, want the outer NAT's %v", e1, home.PublicAddr(), isp.PublicAddr())
		}
		s1.send(e1, "answer")
		sh.want("answer")
		sh.send(s2.addr(server), "x")
		if e2 := s2.want("x"); e2 == e1 {
			t.Errorf("the outer NAT, which is symmetric, shows %v to two servers", e1)
		}

		// Two homes behind one carrier meet on its network, by what their own NATs map to.
		inner := l.listen(isp, 9)
		so.send(netip.AddrPortFrom(localAddr(t, isp), 9), "hello")
		mapped := inner.want("hello")
		sh.send(mapped, "across")
		from := so.want("across")
		if isp.PublicAddr() == from.Addr() || !from.Addr().IsPrivate() {
			t.Errorf("homes of one carrier see each other as %v, want an address of its network", from)
		}

		if err := isp.Rebind(); err != nil {
			t.Fatal(err)
		}
		s1.send(e1, "lost")
		sh.wantNone("the outer NAT has restarted")
		sh.send(s1.addr(server), "x")
		now := s1.want("x")
		if err := home.Renumber(); err != nil {
			t.Fatal(err)
		}
		sh.send(s1.addr(server), "x")
		if got := s1.want("x"); got.Addr() == now.Addr() {
			t.Errorf("Renumber behind two NATs left the public address %v", got)
		}
		if home.NATStats().Mappings == 0 || isp.NATStats().Mappings == 0 {
			t.Error("a NAT has made no mapping")
		}
	})
}

func TestHairpin(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
			a := l.hostWith(netlab.HostConfig{NATConfig: &netlab.NATConfig{Hairpin: hairpin}})
			b, err := l.AddHostBehind(a)
			if err != nil {
				t.Fatal(err)
			}
			server := l.host(netlab.Public)
			sa, sb, ss := l.listen(a, 1), l.listen(b, 1), l.listen(server, 1)
			sb.send(ss.addr(server), "x")
			eb := ss.want("x")
			sa.send(eb, "turned round")
			_, from, ok := sb.recv()
			if ok != hairpin || ok && from.Addr() != a.PublicAddr() {
				t.Errorf("hairpin %v: arrived %v from %v, want %v from the outside address", hairpin, ok, from, hairpin)
			}
			if st := a.NATStats(); st.Hairpins+st.NoHairpin != 1 {
				t.Errorf("stats are %+v, want the packet counted", st)
			}
		})
	}
}

// Two homes may well have the same private addresses.
func TestSameLAN(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		c := netlab.HostConfig{NAT: netlab.FullCone, LAN: netip.MustParsePrefix("192.168.1.0/24")}
		a, b, server := l.hostWith(c), l.hostWith(c), l.host(netlab.Public)
		if x, y := localAddr(t, a), localAddr(t, b); x != y {
			t.Fatalf("local addresses %v and %v, want the same", x, y)
		}
		sa, sb, ss := l.listen(a, 1), l.listen(b, 2), l.listen(server, 1)
		sa.send(netip.AddrPortFrom(localAddr(t, b), 2), "to myself")
		sb.wantNone("it is another network")
		sb.send(ss.addr(server), "x")
		sa.send(ss.want("x"), "hello")
		sb.want("hello")
	})
}

func TestUDPBlocked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		a, server := l.hostWith(netlab.HostConfig{NAT: netlab.FullCone, BlockUDP: true}), l.host(netlab.Public)
		b, err := l.AddHostBehind(a)
		if err != nil {
			t.Fatal(err)
		}
		sa, sb, ss := l.listen(a, 1), l.listen(b, 1), l.listen(server, 1)
		sa.send(ss.addr(server), "x")
		ss.wantNone("the site drops UDP")
		ss.send(netip.AddrPortFrom(a.PublicAddr(), 0xC000), "x")
		sa.wantNone("the site drops UDP")
		sa.send(netip.AddrPortFrom(localAddr(t, b), 1), "neighbour")
		sb.want("neighbour")
	})
}

func addr6(t *testing.T, h *netlab.Host) netip.Addr {
	t.Helper()
	addrs, _ := h.LocalAddrs()
	for _, a := range addrs {
		if a.Is6() {
			return a
		}
	}
	t.Fatalf("no IPv6 address in %v", addrs)
	return netip.Addr{}
}

func (l *lab) listen6(h *netlab.Host, port uint16) *sock {
	l.t.Helper()
	pc, err := h.ListenPacket(l.t.Context(), "udp6", netip.AddrPortFrom(netip.IPv6Unspecified(), port))
	if err != nil {
		l.t.Fatal(err)
	}
	return &sock{l.t, pc}
}

func TestIPv6(t *testing.T) {
	const ms = time.Millisecond
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		wall := &netlab.NATConfig{Filtering: netlab.AddressAndPortDependent}
		dual := l.hostWith(netlab.HostConfig{NAT: netlab.Symmetric, IPv6: netlab.DualStack, OneWay: 10 * ms})
		only := l.hostWith(netlab.HostConfig{IPv6: netlab.OnlyIPv6, OneWay: 5 * ms, Firewall: wall})
		old := l.host(netlab.Public)
		d4, d6, o6 := l.listen(dual, 1), l.listen6(dual, 1), l.listen6(only, 1) // one port in both families

		if addrs, _ := only.LocalAddrs(); len(addrs) != 1 || only.PublicAddr().IsValid() {
			t.Errorf("addresses %v and public %v of an IPv6-only host, want one and none", addrs, only.PublicAddr())
		}
		// The firewall lets nobody in before it has been asked to; addresses are not translated.
		d6.send(netip.AddrPortFrom(addr6(t, only), 1), "early")
		o6.wantNone("the firewall")
		start := time.Now()
		o6.send(netip.AddrPortFrom(addr6(t, dual), 1), "hello")
		from := d6.want("hello")
		if want := netip.AddrPortFrom(addr6(t, only), 1); from != want {
			t.Errorf("packet came from %v, want %v", from, want)
		}
		if d := time.Since(start); d != 15*ms {
			t.Errorf("it took %v, want 15ms: the same links", d)
		}
		d6.send(from, "answer")
		o6.want("answer")
		other := l.listen6(dual, 2)
		other.send(from, "other port")
		o6.wantNone("the firewall looks at ports")
		time.Sleep(31 * time.Second)
		d6.send(from, "late")
		o6.wantNone("the firewall has forgotten")

		// IPv4 goes on beside it.
		so := l.listen(old, 1)
		d4.send(so.addr(old), "four")
		so.want("four")
		for what, s := range map[string]*sock{"IPv4 from an IPv6-only host": l.listen(only, 9), "IPv4 on an IPv6 socket": d6} {
			if _, err := s.WriteTo(nil, so.LocalAddr()); !errors.Is(err, syscall.ENETUNREACH) {
				t.Errorf("%s: %v, want ENETUNREACH", what, err)
			}
		}
	})
}

// A carrier's NAT for IPv4 with native IPv6 beside it, the usual thing.
func TestIPv6BesideTwoNATs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		isp, far := l.host(netlab.Symmetric), l.hostWith(netlab.HostConfig{IPv6: netlab.DualStack})
		home := l.hostWith(netlab.HostConfig{
			NAT: netlab.PortRestricted, Behind: isp, IPv6: netlab.DualStack,
			Firewall: &netlab.NATConfig{Filtering: netlab.AddressAndPortDependent},
		})
		sh, sf := l.listen6(home, 1), l.listen6(far, 1)
		sf.send(netip.AddrPortFrom(addr6(t, home), 1), "early")
		sh.wantNone("the firewall")
		sh.send(netip.AddrPortFrom(addr6(t, far), 1), "x")
		from := sf.want("x")
		if from.Addr() != addr6(t, home) {
			t.Errorf("packet from %v, want %v", from, addr6(t, home))
		}
		sf.send(from, "answer")
		sh.want("answer")
	})
}

func TestMoveBetweenFamilies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		far := l.hostWith(netlab.HostConfig{IPv6: netlab.DualStack})
		f4, f6 := l.listen(far, 1), l.listen6(far, 1)
		to6 := netip.AddrPortFrom(addr6(t, far), 1)
		h := l.hostWith(netlab.HostConfig{NAT: netlab.FullCone, IPv6: netlab.DualStack})
		s4, s6 := l.listen(h, 1), l.listen6(h, 1)
		s6.send(to6, "x")
		before := f6.want("x")

		if err := h.Renumber(); err != nil {
			t.Fatal(err)
		}
		if err := h.WaitChange(t.Context()); err != nil {
			t.Errorf("a host with another IPv6 prefix was not told: %v", err)
		}
		f6.send(before, "lost")
		s6.wantNone("the prefix is another")
		s6.send(to6, "x")
		if after := f6.want("x"); after == before {
			t.Errorf("packet from %v as before Renumber", after)
		}

		if err := h.MoveWith(netlab.HostConfig{NAT: netlab.FullCone}); err != nil {
			t.Fatal(err)
		}
		if _, err := s6.WriteTo(nil, f6.LocalAddr()); err == nil {
			t.Error("IPv6 from a site without it succeeded")
		}
		s4.send(f4.addr(far), "four")
		f4.want("four")
		if err := h.MoveWith(netlab.HostConfig{IPv6: netlab.OnlyIPv6}); err != nil {
			t.Fatal(err)
		}
		s6.send(to6, "six")
		f6.want("six")
		h.Detach()
		if err := h.Attach(); err != nil {
			t.Fatal(err)
		}
		s6.send(to6, "six")
		f6.want("six")
	})
}

func TestNATLimitsAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{MappingLifetime: time.Second})
		h := l.hostWith(netlab.HostConfig{NATConfig: &netlab.NATConfig{
			Mapping: netlab.AddressAndPortDependent, Ports: netlab.Random, MaxMappings: 10,
		}})
		s := l.listen(h, 1)
		for i := range uint16(15) {
			s.send(netip.AddrPortFrom(netip.MustParseAddr("5.9.9.9"), 1+i), "x")
		}
		if st := h.NATStats(); st.Refused != 5 || st.Mappings != 10 {
			t.Errorf("stats are %+v, want 10 mappings and 5 refused", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // the network's lifetime, not 30 s
		defer cancel()
		<-ctx.Done()
		s.send(netip.MustParseAddrPort("5.9.9.9:99"), "x")
		if st := h.NATStats(); st.Mappings != 11 {
			t.Errorf("stats are %+v, want room again after the lifetime", st)
		}
	})
}

func TestHostConfigErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, l2 := newLab(t, netlab.Config{}), newLab(t, netlab.Config{})
		nated, public, foreign := l.host(netlab.FullCone), l.host(netlab.Public), l2.host(netlab.FullCone)
		for _, c := range []netlab.HostConfig{
			{NAT: 99},
			{OneWay: -1},
			{NATConfig: &netlab.NATConfig{Step: -1}},
			{Firewall: &netlab.NATConfig{Lifetime: -1}},
			{IPv6: 3},
			{NAT: netlab.FullCone, LAN: netip.MustParsePrefix("10.0.0.0/8")},
			{Behind: nated},
			{NAT: netlab.FullCone, Behind: public},
			{NAT: netlab.FullCone, Behind: foreign},
			{NAT: netlab.FullCone, Behind: nated, OneWay: 1},
		} {
			if _, err := l.AddHostWith(c); !errors.Is(err, netlab.ErrConfig) {
				t.Errorf("%+v: %v, want ErrConfig", c, err)
			}
		}
	})
}
