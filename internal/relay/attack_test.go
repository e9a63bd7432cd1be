// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

// One user within its quota must not be able to use up the ports of all: a port that rests is charged to nobody.
func TestPortChurnStarvesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *Config) { c.MinPort, c.MaxPort = 50000, 50099 })
		churner := l.raw("9.9.9.1:1000", "churner")
		for i := range 100 {
			if code := churner.allocate(); code != 0 {
				break // an answer that spares the others is welcome
			}
			if code := churner.do(stunx.Refresh, func(b *stunx.Builder) { b.Add(stunx.Lifetime, make([]byte, 4)) }); code != 0 {
				t.Fatalf("refresh %d: %d", i, code)
			}
			synctest.Wait()
		}
		if n := l.s.Allocations(); n > 1 {
			t.Fatalf("%d allocations live, want at most one at a time", n)
		}
		honest := l.raw("9.9.9.2:1000", "honest")
		if code := honest.allocate(); code != 0 {
			t.Errorf("another user got %d, want 0: one user with no allocation left holds all %d ports for %v",
				code, 100, l.s.c.PortRest)
		}
	})
}

// lateConn returns from a read some time after it was closed, as a goroutine does that the scheduler wakes late.
type lateConn struct{ net.PacketConn }

func (c lateConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, a, err := c.PacketConn.ReadFrom(b)
	if err != nil {
		time.Sleep(50 * time.Millisecond)
	}
	return n, a, err
}

// The reader of a deleted allocation must not delete its successor on the same 5-tuple.
func TestOldReaderDeletesNewAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *Config) {
			open := c.ListenRelay
			c.ListenRelay = func(port int) (net.PacketConn, error) {
				pc, err := open(port)
				if err != nil {
					return nil, err
				}
				return lateConn{pc}, nil
			}
		})
		r := l.raw("9.9.9.1:1000", "u")
		if code := r.allocate(); code != 0 {
			t.Fatal(code)
		}
		if code := r.do(stunx.Refresh, func(b *stunx.Builder) { b.Add(stunx.Lifetime, make([]byte, 4)) }); code != 0 {
			t.Fatal(code)
		}
		if code := r.allocate(); code != 0 {
			t.Fatalf("second allocation: %d", code)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := l.s.Allocations(); n != 1 {
			t.Errorf("%d allocations a second after a successful Allocate, want 1", n)
		}
		ok(t, l.s.Close())
		time.Sleep(time.Second) // for the late readers
	})
}

// The broadcast address of a network that this machine is in reaches this machine, so it is one of its addresses.
func TestDirectedBroadcastReachesHost(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	ok(t, err)
	for _, a := range addrs {
		n, _ := a.(*net.IPNet)
		if n == nil || n.IP.To4() == nil || n.IP.IsLoopback() {
			continue
		}
		ones, _ := n.Mask.Size()
		if ones > 30 {
			continue
		}
		ip, mask := n.IP.To4(), net.IP(n.Mask).To4()
		b := netip.AddrFrom4([4]byte{ip[0] | ^mask[0], ip[1] | ^mask[1], ip[2] | ^mask[2], ip[3] | ^mask[3]})
		pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		ok(t, err)
		host := netip.AddrFrom4([4]byte(ip))
		prefix := netip.PrefixFrom(host, ones).Masked()
		s, err := New(&Config{
			PacketConns: []net.PacketConn{pc}, RelayIP: relayIP, Secrets: []string{secret}, AllowPeers: []netip.Prefix{prefix},
		})
		ok(t, err)
		defer s.Close()
		if r := s.judge(host); r != Host {
			t.Fatalf("%v: %q, want host", host, r)
		}
		if r := s.judge(b); r != Allowed {
			continue
		}
		canary, err := net.ListenUDP("udp4", nil) // a service of this machine on all addresses
		ok(t, err)
		defer canary.Close()
		out, err := net.ListenUDP("udp4", &net.UDPAddr{IP: n.IP}) // what Config.ListenRelay opens
		ok(t, err)
		defer out.Close()
		port := canary.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		_, werr := out.WriteToUDPAddrPort([]byte("boo"), netip.AddrPortFrom(b, port))
		ok(t, canary.SetReadDeadline(time.Now().Add(time.Second)))
		m, from, rerr := canary.ReadFromUDPAddrPort(make([]byte, 100))
		t.Errorf("peer %v is allowed although %v is this machine; a packet to it reached a local service: %v (%d bytes from %v; %v, %v)",
			b, host, rerr == nil, m, from, werr, rerr)
	}
}
