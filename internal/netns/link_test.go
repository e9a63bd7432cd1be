// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func TestLoss(t *testing.T) {
	const p, rounds, burst = 0.1, 40, 100
	n := New(t)
	server := listen(t, n.Site("servers", nil).Host("server"))
	client := listen(t, n.Site("home", &SiteConfig{NAT: Cone, Loss: p}).Host("host"))
	pass := func(from, to *socket, dest netip.AddrPort) (count int, last netip.AddrPort) {
		for range rounds {
			for range burst { // fits into the receiver's buffer
				send(t, from, "x", dest)
			}
			for range burst {
				_, src := receive(t, to, 10*time.Millisecond)
				if !src.IsValid() {
					break
				}
				count, last = count+1, src
			}
		}
		return count, last
	}
	up, seen := pass(client, server, server.addr())
	down, _ := pass(server, client, seen)
	const sent = rounds * burst
	tolerance := 5 * math.Sqrt(sent*p*(1-p)) // five standard deviations
	for direction, got := range map[string]int{"up": up, "down": down} {
		t.Logf("%s: %d of %d arrived", direction, got, sent)
		if math.Abs(float64(got)-sent*(1-p)) > tolerance {
			t.Errorf("%s: %d of %d packets arrived, want about %.0f", direction, got, sent, sent*(1-p))
		}
	}
}

func TestBlockUDP(t *testing.T) {
	n := New(t)
	server := n.Site("servers", nil).Host("server")
	host := n.Site("home", &SiteConfig{NAT: Cone, BlockUDP: true}).Host("host")
	echo := newEcho(t, server)
	sock := listen(t, host)
	send(t, sock, "x", echo)
	if b, from := receive(t, sock, silence); from.IsValid() {
		t.Errorf("%q came back by UDP, want silence", b)
	}
	if got := transfer(t, host, server, 1000); got <= 0 {
		t.Error("a TCP transfer took no time")
	}
}

func TestRate(t *testing.T) {
	const bits, size = 20e6, 2_000_000
	n := New(t)
	server := n.Site("servers", nil).Host("server")
	host := n.Site("home", &SiteConfig{NAT: Cone, Rate: bits}).Host("host")
	ideal := time.Duration(size * 8 / bits * float64(time.Second))
	for direction, took := range map[string]time.Duration{
		"up": transfer(t, host, server, size), "down": transfer(t, server, host, size),
	} {
		t.Logf("%s: %d bytes in %v, %v at the rate of the link", direction, size, took, ideal)
		if took < ideal*9/10 || took > ideal*2 {
			t.Errorf("%s: %d bytes took %v, want about %v", direction, size, took, ideal)
		}
	}
}

func TestMTU(t *testing.T) {
	n := New(t)
	echo := newEcho(t, n.Site("servers", nil).Host("server"))
	sock := listen(t, n.Site("home", &SiteConfig{NAT: Cone, MTU: 1300}).Host("host"))
	// IP_PMTUDISC_DO: fragment nothing, report what is too large once the router has said so (RFC 1191).
	raw, err := sock.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = errors.Join(
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_DO),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, syscall.IPV6_PMTUDISC_DO))
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	mapped(t, sock, echo)
	big := make([]byte, 1300)
	for deadline := time.Now().Add(patience); ; {
		_, err := sock.WriteToUDPAddrPort(big, echo)
		if errors.Is(err, syscall.EMSGSIZE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, from := receive(t, sock, silence); from.IsValid() || time.Now().After(deadline) {
			t.Fatal("a packet of 1328 bytes went through a link with an MTU of 1300, or vanished without a word")
		}
	}
	send(t, sock, string(make([]byte, 1272)), echo)
	if _, from := receive(t, sock, patience); !from.IsValid() {
		t.Error("a packet of 1300 bytes vanished, want it to fit")
	}
}

// transfer sends bytes by TCP, to a server at the receiver unless only the sender is reachable, and returns how long the
// receiver waited for the last of them.
func transfer(t *testing.T, from, to *Host, size int) time.Duration {
	t.Helper()
	server, client := to, from
	if to.site.cfg.NAT != Public {
		server, client = from, to
	}
	var l net.Listener
	if err := server.Do(func() (err error) {
		l, err = net.Listen("tcp", ":0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dest := netip.AddrPortFrom(server.Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
	var a, b net.Conn
	if err := client.Do(func() (err error) {
		a, err = net.DialTimeout("tcp", dest.String(), patience)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	src, dst := a, b
	if server == from {
		src, dst = b, a
	}
	src.SetDeadline(time.Now().Add(4 * patience))
	dst.SetDeadline(time.Now().Add(4 * patience))
	start := time.Now()
	go func() {
		_, _ = src.Write(make([]byte, size)) // the receiver tells
	}()
	if _, err := io.ReadFull(dst, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}
