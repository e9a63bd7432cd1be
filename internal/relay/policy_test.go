// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// encodings are the ways to write an IPv4 address as an IPv6 address.
var encodings = map[string]func(netip.Addr) netip.Addr{
	"mapped ::ffff:a.b.c.d":       func(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) },
	"compatible ::a.b.c.d":        func(a netip.Addr) netip.Addr { return v6("::", 12, a) },
	"translated ::ffff:0:a.b.c.d": func(a netip.Addr) netip.Addr { return v6("::ffff:0:0:0", 12, a) },
	"nat64 64:ff9b::a.b.c.d":      func(a netip.Addr) netip.Addr { return v6("64:ff9b::", 12, a) },
	"6to4 2002:aabb:ccdd::1":      func(a netip.Addr) netip.Addr { return v6("2002::1", 2, a) },
	"teredo client": func(a netip.Addr) netip.Addr {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], ^binary.BigEndian.Uint32(b[:]))
		return v6("2001:0:808:808::", 12, netip.AddrFrom4(b))
	},
	"teredo server":         func(a netip.Addr) netip.Addr { return v6("2001:0::f7f7:f7f7", 4, a) }, // client 8.8.8.8
	"isatap":                func(a netip.Addr) netip.Addr { return v6("2600::5efe:0:0", 12, a) },
	"isatap, globally":      func(a netip.Addr) netip.Addr { return v6("2600::200:5efe:0:0", 12, a) },
	"mapped, with a zone":   func(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()).WithZone("eth0") },
	"nat64, with a zone":    func(a netip.Addr) netip.Addr { return v6("64:ff9b::", 12, a).WithZone("1") },
	"not encoded at all":    func(a netip.Addr) netip.Addr { return a },
	"6to4, with a tail":     func(a netip.Addr) netip.Addr { return v6("2002:0:0:ffff:ffff:ffff:ffff:ffff", 2, a) },
	"teredo with flag bits": func(a netip.Addr) netip.Addr { return v6("2001:0:0:0:8000:1234:f7f7:f7f7", 4, a) },
}

func v6(base string, at int, a netip.Addr) netip.Addr {
	b, v := netip.MustParseAddr(base).As16(), a.As4()
	copy(b[at:], v[:])
	return netip.AddrFrom16(b)
}

// forbidden is one address of each kind that nobody may reach by default.
var forbidden = map[string]Reason{
	"0.0.0.0": Unspecified, "0.1.2.3": Unspecified, "10.0.0.1": Private, "10.255.255.255": Private, "100.64.0.1": Private,
	"100.100.100.200": Private, "127.0.0.1": Loopback, "127.255.255.254": Loopback, "168.63.129.16": Metadata,
	"169.254.169.254": LinkLocal, "172.16.0.1": Private, "172.31.255.255": Private, "192.0.0.192": Reserved,
	"192.0.2.1": Documentation, "192.88.99.1": Reserved, "192.168.1.1": Private, "198.18.0.1": Reserved,
	"198.19.255.255": Reserved, "198.51.100.1": Documentation, "203.0.113.1": Documentation, "224.0.0.251": Multicast,
	"239.255.255.250": Multicast, "240.0.0.1": Reserved, "255.255.255.255": Reserved,
}

var permitted = []string{
	"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
	"168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
	"192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
}

func TestDefaultPolicy(t *testing.T) {
	var p Policy
	for s, want := range forbidden {
		for name, enc := range encodings {
			if got := p.Check(enc(netip.MustParseAddr(s))); got != want {
				t.Errorf("%s as %s: %q, want %q", s, name, got, want)
			}
		}
	}
	for _, s := range permitted {
		for name, enc := range encodings {
			if got := p.Check(enc(netip.MustParseAddr(s))); got != Allowed {
				t.Errorf("%s as %s: %q, want consent", s, name, got)
			}
		}
	}
	for s, want := range map[string]Reason{
		"::": Unspecified, "::1": Loopback, "64:ff9b:1::808:808": Translation, "100::1": Reserved, "2001:1::1": Reserved,
		"2001:db8::1": Documentation, "3fff::1": Documentation, "5f00::1": Reserved, "fc00::1": Private, "fd00:ec2::254": Private,
		"fe80::1": LinkLocal, "fe80::1%eth0": LinkLocal, "fec0::1": Private, "ff02::1": Multicast, "fe80::5efe:808:808": LinkLocal,
		"2606:4700::1111": Allowed, "2a00:1450:4001::1": Allowed,
	} {
		if got := p.Check(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
	if p.Check(netip.Addr{}) == Allowed {
		t.Error("the zero address is allowed")
	}
}

// The verdict on an embedded address is the verdict on what it embeds, for any address and any policy.
func TestVerdictOfEmbeddedAddress(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		v4 := netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		if i%3 == 0 { // near the edges of a rule
			d := denied[r.IntN(len(denied))].prefix
			if d.Addr().Is4() {
				v4 = d.Addr()
				if r.IntN(2) == 0 && v4.Prev().IsValid() {
					v4 = v4.Prev()
				}
			}
		}
		if v4.Is4() && v4.As4()[0] == 0 {
			continue // :: and ::1 have rules of their own, see TestDefaultPolicy
		}
		p := Policy{Hosts: []netip.Addr{netip.MustParseAddr("9.9.9.9")}}
		switch i % 4 {
		case 1:
			p.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.7.0/24")}
		case 2:
			p.Hosts = append(p.Hosts, v4)
		case 3:
			p.Relay = v4
		}
		want := p.Check(v4)
		for name, enc := range encodings {
			if got := p.Check(enc(v4)); got != want {
				t.Fatalf("%v as %s (%v): %q, want %q as for the address itself", v4, name, enc(v4), got, want)
			}
		}
	}
}

func FuzzPolicy(f *testing.F) {
	for s := range forbidden {
		f.Add(netip.MustParseAddr(s).AsSlice())
	}
	f.Add(netip.MustParseAddr("64:ff9b::a00:1").AsSlice())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		var p Policy
		got := p.Check(a)
		// Whatever the standard library calls special is refused too; the reverse does not hold.
		if u := a.Unmap(); got == Allowed && (u.IsPrivate() || u.IsLoopback() || u.IsLinkLocalUnicast() || u.IsMulticast() || u.IsUnspecified()) {
			t.Fatalf("%v allowed", a)
		}
		if a.Is4() && got != p.Check(netip.AddrFrom16(a.As16())) {
			t.Fatalf("%v and its mapped form differ", a)
		}
	})
}

func TestAllowPeers(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, tt := range []struct {
		allow, addr string
		want        Reason
	}{
		{"10.0.0.0/8", "10.1.2.3", Allowed},
		{"10.1.0.0/16", "10.1.2.3", Allowed},
		{"10.1.0.0/16", "10.2.0.1", Private},
		{"0.0.0.0/0", "10.1.2.3", Private}, // deny wins over what is wider
		{"8.0.0.0/5", "10.1.2.3", Private},
		{"127.0.0.0/8", "127.0.0.1", Allowed},
		{"169.254.169.254/32", "169.254.169.254", Allowed},
		{"168.63.129.0/24", "168.63.129.16", Metadata},
		{"10.9.9.0/24", "10.9.9.9", Host}, // this machine must be named exactly
		{"10.9.9.9/32", "10.9.9.9", Allowed},
		{"10.0.0.0/8", "8.8.4.4", Host},
		{"::1/128", "::1", Allowed},
		{"fc00::/7", "fd00::1", Allowed},
	} {
		p := Policy{
			Allow: []netip.Prefix{prefix(tt.allow)},
			Hosts: []netip.Addr{netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("127.0.0.1")},
		}
		if got := p.Check(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("allow %s: %s is %q, want %q", tt.allow, tt.addr, got, tt.want)
		}
	}
}

// Every door a packet can take is tried with every forbidden address in every way of writing it, and nothing may arrive.
func TestNothingReachesForbiddenPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *Config) { c.AnswerRate = -1 })
		r := l.raw("8.0.0.1:1000", "alice")
		if got := r.allocate(); got != 0 {
			t.Fatal(got)
		}
		a := l.s.allocationOf(t, "8.0.0.1:1000")
		checked := 0
		targets := []string{"10.9.9.9", "5.5.5.5"} // this machine
		for s := range forbidden {
			targets = append(targets, s)
		}
		number := uint16(0x4000)
		for _, s := range targets {
			v4 := netip.MustParseAddr(s)
			canary := netip.AddrPortFrom(v4, 80)
			for name, enc := range encodings {
				if enc(v4).Zone() != "" {
					continue // there are no zones on the wire
				}
				peer := netip.AddrPortFrom(enc(v4), 80)
				number++
				own := s == "5.5.5.5"
				if got := r.permit(peer.Addr().String()); got != 403 && !own {
					t.Errorf("permission for %s as %s: %d, want 403", s, name, got)
				}
				if got := r.bind(number, peer); got != 403 && got != 443 {
					t.Errorf("channel to %s as %s: %d, want a refusal", s, name, got)
				}
				r.indication(peer, "x")
				r.send([]byte{byte(number >> 8), byte(number), 0, 1, 'x', 0, 0, 0})
				_, _ = a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(peer)) // as if every check before had failed
				checked++
			}
			synctest.Wait()
			if n := l.w.count(canary); n != 0 {
				t.Errorf("%d packets reached %s", n, canary)
			}
		}
		if n := l.metric("policy_denied_total"); n < float64(2*checked) {
			t.Errorf("%v denials counted for %d attempts of each kind", n, checked)
		}
		// The control: an ordinary peer is reached by each of the doors.
		peer := netip.MustParseAddrPort("8.8.8.8:80")
		if p, b := r.permit("8.8.8.8"), r.bind(0x4FFF, peer); p != 0 || b != 0 {
			t.Fatalf("ordinary peer refused: %d %d", p, b)
		}
		r.indication(peer, "x")
		r.send([]byte{0x4F, 0xFF, 0, 1, 'x', 0, 0, 0})
		_, _ = a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(peer))
		synctest.Wait()
		if n := l.w.count(peer); n != 3 {
			t.Errorf("%d packets reached an ordinary peer, want 3", n)
		}
	})
}

// A permission does not outlive a change of policy: the machine gets a new address, and existing channels to it fail.
func TestPolicyIsAppliedAtEverySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := []netip.Addr{relayIP}
		l := newLab(t, func(c *Config) { c.HostAddrs = func() []netip.Addr { return host } })
		r := l.raw("8.0.0.1:1000", "alice")
		peer := netip.MustParseAddrPort("8.8.8.8:80")
		if got := r.allocate() + r.bind(0x4000, peer); got != 0 {
			t.Fatal(got)
		}
		data := []byte{0x40, 0, 0, 1, 'x', 0, 0, 0}
		for i, want := range []int{1, 1, 2} {
			host = [][]netip.Addr{{relayIP}, {relayIP, peer.Addr()}, {relayIP}}[i]
			l.s.lookUpHost()
			r.send(data)
			synctest.Wait()
			if n := l.w.count(peer); n != want {
				t.Errorf("step %d: %d packets arrived, want %d", i, n, want)
			}
		}
	})
}

// The same over real sockets: 0.0.0.0 and its relatives reach local services through a careless relay.
func TestCanaryOnLoopback(t *testing.T) {
	canary, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	ok(t, err)
	defer canary.Close()
	port := canary.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	s, r := realRelay(t, func(c *Config) { c.AllowPeers, c.AllowHost = nil, false })
	if got := r.allocate(); got != 0 {
		t.Fatal(got)
	}
	a := s.allocationOf(t, r.pc.LocalAddr().String())
	for _, s := range []string{"127.0.0.1", "0.0.0.0", "127.9.9.9", "255.255.255.255"} {
		for name, enc := range encodings {
			peer := netip.AddrPortFrom(enc(netip.MustParseAddr(s)).WithZone(""), port)
			if got := r.permit(peer.Addr().String()); s != "127.0.0.1" && got != 403 {
				t.Errorf("%s as %s: %d, want 403", s, name, got)
			}
			r.bind(0x4000, peer)
			r.indicate(peer, "x")
			_, _ = a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(peer))
		}
	}
	ok(t, canary.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	b := make([]byte, 10)
	if n, from, err := canary.ReadFromUDPAddrPort(b); err == nil {
		t.Errorf("the canary heard %q from %v", b[:n], from)
	}
}

func BenchmarkPolicy(b *testing.B) {
	p := Policy{Hosts: []netip.Addr{relayIP}, Relay: relayIP}
	for _, s := range []string{"8.8.8.8", "64:ff9b::808:808"} {
		a := netip.MustParseAddr(s)
		b.Run(fmt.Sprintf("addr=%s", a), func(b *testing.B) {
			for b.Loop() {
				p.Check(a)
			}
		})
	}
}
