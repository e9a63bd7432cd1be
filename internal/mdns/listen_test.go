// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mdns

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A fakeSocket has packets to be read, and remembers what was written.
type fakeSocket struct {
	packets []fakePacket
	written []int // interfaces
	fails   int   // an interface that takes nothing
}

type fakePacket struct {
	what    string
	from    string
	ifIndex int
	hops    int
}

func (s *fakeSocket) JoinGroup(*net.Interface, net.Addr) error { return nil }
func (s *fakeSocket) SetReadDeadline(time.Time) error          { return nil }
func (s *fakeSocket) Close() error                             { return nil }

func (s *fakeSocket) read(b []byte) (int, netip.AddrPort, int, int, error) {
	if len(s.packets) == 0 {
		return 0, netip.AddrPort{}, 0, 0, io.EOF
	}
	p := s.packets[0]
	s.packets = s.packets[1:]
	return copy(b, p.what), netip.MustParseAddrPort(p.from), p.ifIndex, p.hops, nil
}

func (s *fakeSocket) write(_ []byte, ifIndex int, _ net.Addr) error {
	if ifIndex == s.fails {
		return io.ErrClosedPipe
	}
	s.written = append(s.written, ifIndex)
	return nil
}

func twoLinks(s *fakeSocket) *Conn {
	l := func(index int, name string, prefixes ...string) link {
		l := link{Interface: net.Interface{Index: index, Name: name}}
		for _, p := range prefixes {
			l.prefixes = append(l.prefixes, netip.MustParsePrefix(p))
		}
		return l
	}
	return &Conn{sock: s, links: []link{
		l(2, "eth0", "192.0.2.7/24", "fe80::7/64", "2001:db8::7/64"),
		l(3, "wlan0", "198.51.100.7/25"),
	}}
}

// RFC 6762 §11: only what comes from the local link is looked at.
func TestOnlyTheLocalLink(t *testing.T) {
	packets := []fakePacket{
		{"yes: of the subnet", "192.0.2.9:5353", 2, 255},
		{"yes: of the other", "198.51.100.9:5353", 3, 255},
		{"yes: the system does not tell", "192.0.2.9:5353", 0, 0},
		{"yes: link-local", "[fe80::9%eth0]:5353", 2, 255},
		{"yes: one of IPv6", "[2001:db8::9]:5353", 2, 255},
		{"no: another subnet", "203.0.113.1:5353", 2, 255},
		{"no: beyond the subnet", "198.51.100.200:5353", 3, 255},
		{"no: by the wrong interface", "192.0.2.9:5353", 3, 255},
		{"no: by one we have not joined on", "192.0.2.9:5353", 4, 255},
		{"no: passed on by a router", "192.0.2.9:5353", 2, 254},
		{"no: link-local of one we have not joined on", "[fe80::9%eth1]:5353", 4, 255},
		{"no: another network", "[2001:db8:1::9]:5353", 2, 255},
	}
	c := twoLinks(&fakeSocket{packets: slices.Clone(packets)})
	var got, want []string
	for _, p := range packets {
		if p.what[:3] == "yes" {
			want = append(want, p.what)
		}
	}
	buf := make([]byte, MaxMessage)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			break
		}
		got = append(got, string(buf[:n]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("read\n%q, want\n%q", got, want)
	}
}

func TestWriteByEveryLink(t *testing.T) {
	s := &fakeSocket{fails: 2}
	c := twoLinks(s)
	group := net.UDPAddrFromAddrPort(Group("udp4"))
	if _, err := c.WriteTo(nil, group); err != nil || !slices.Equal(s.written, []int{3}) {
		t.Errorf("to the group: %v, by interfaces %v; want the one that works", err, s.written)
	}
	s.written = nil
	if _, err := c.WriteTo(nil, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 5353}); err != nil || !slices.Equal(s.written, []int{0}) {
		t.Errorf("to one host: %v, by interfaces %v; want it to be left to the system", err, s.written)
	}
	c.links = c.links[:1]
	if _, err := c.WriteTo(nil, group); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("when no interface takes it: %v, want what the interface said", err)
	}
}

// Who asks is told the addresses on his link and no others.
func TestLocalAddrs(t *testing.T) {
	c := twoLinks(nil)
	for from, want := range map[string][]string{
		"198.51.100.9:5353":   {"198.51.100.7"},
		"192.0.2.9:5353":      {"192.0.2.7", "fe80::7", "2001:db8::7"},
		"[fe80::9%eth0]:5353": {"192.0.2.7", "fe80::7", "2001:db8::7"},
		"203.0.113.1:5353":    nil,
	} {
		var got []string
		for _, a := range c.LocalAddrs(net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("for %s: %v, want %v", from, got, want)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	for network, group := range map[string]string{"udp4": "192.0.2.1:5353", "udp6": "224.0.0.251:5353"} {
		if c, err := Listen(context.Background(), network, netip.MustParseAddrPort(group)); err == nil {
			_ = c.Close()
			t.Errorf("%s on %s, which is no group of it, was joined", network, group)
		}
	}
}
