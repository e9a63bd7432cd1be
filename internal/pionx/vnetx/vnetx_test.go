// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package vnetx

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
)

var (
	public = netip.MustParseAddr("5.0.0.1")
	lan    = netip.MustParsePrefix("10.0.0.0/24")
	inner  = netip.MustParseAddr("10.0.0.2")
)

type packet struct {
	src, dst netip.AddrPort
	b        string
}

// site makes a site whose egress goes to the returned channel.
func site(t *testing.T, c Config) (*Site, chan packet) {
	t.Helper()
	out := make(chan packet, 1<<15)
	c.Public, c.LAN = public, lan
	c.Egress = func(src, dst netip.AddrPort, b []byte) { out <- packet{src, dst, string(b)} }
	s, err := New(&c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, out
}

func TestPortShift(t *testing.T) {
	for boot := range uint64(20) {
		seen := make(map[uint16]bool)
		for p := firstPort; p <= 0xFFFF; p++ {
			ext := outside(uint16(p), boot)
			if ext < firstPort || seen[ext] || inside(ext, boot) != uint16(p) {
				t.Fatalf("boot %d: port %d became %d and then %d", boot, p, ext, inside(ext, boot))
			}
			seen[ext] = true
		}
	}
	if outside(firstPort, 0) == outside(firstPort, 1) {
		t.Error("a reboot does not change the first port")
	}
}

// TestExhaustion uses up all external ports of a NAT. It must not be the end of it.
func TestExhaustion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := site(t, Config{NAT: true, Mapping: AddressAndPort, Filtering: AddressAndPort})
		h, err := s.AddHost(inner)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 1)
		sock, err := h.Listen(netip.AddrPortFrom(inner, 1), func(b []byte, _ netip.AddrPort) { got <- string(b) })
		if err != nil {
			t.Fatal(err)
		}
		defer sock.Close()
		to := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)}), 53)
		}
		for i := range ports + 100 {
			if err := sock.Send([]byte("x"), to(i)); err != nil {
				t.Fatal(err)
			}
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if len(out) != ports {
			t.Fatalf("%d packets left, want %d: one per port", len(out), ports)
		}
		used := make(map[uint16]bool)
		for range ports {
			used[(<-out).src.Port()] = true
		}
		if len(used) != ports {
			t.Errorf("%d ports were used, want %d", len(used), ports)
		}

		if err := s.Reboot(); err != nil {
			t.Fatal(err)
		}
		if err := sock.Send([]byte("after"), to(0)); err != nil {
			t.Fatal(err)
		}
		p := <-out
		s.Ingress(to(0), p.src, []byte("answer"))
		if b := <-got; b != "answer" {
			t.Errorf("got %q after the reboot, want the answer", b)
		}
	})
}

// TestManyGates has more outside endpoints talk to a host than sockets are kept for.
func TestManyGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := site(t, Config{})
		h, err := s.AddHost(public)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan netip.AddrPort, 1)
		sock, err := h.Listen(netip.AddrPortFrom(public, 9), func(_ []byte, from netip.AddrPort) { got <- from })
		if err != nil {
			t.Fatal(err)
		}
		defer sock.Close()
		for i := range 2*maxGates + 10 {
			from := netip.AddrPortFrom(netip.MustParseAddr("8.8.8.8"), uint16(i+1))
			s.Ingress(from, netip.AddrPortFrom(public, 9), []byte("x"))
			if f := <-got; f != from {
				t.Fatalf("packet from %v, want %v", f, from)
			}
		}
		if len(s.gated) > maxGates {
			t.Errorf("%d gates, want at most %d", len(s.gated), maxGates)
		}
	})
}

// TestMadeAtOnce makes sites in parallel, for the race detector: they share nothing.
func TestMadeAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 8 {
		s, _ := site(t, Config{NAT: true})
		wg.Go(func() {
			if _, err := s.AddHost(inner); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	egress := func(netip.AddrPort, netip.AddrPort, []byte) {}
	v6 := netip.MustParseAddr("2001:db8::1")
	for _, c := range []*Config{
		nil,
		{Public: public},
		{Egress: egress},
		{Public: v6, Egress: egress},
		{Public: public, NAT: true, Egress: egress},
	} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("New(%+v): %v, want ErrConfig", c, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		natted, _ := site(t, Config{NAT: true})
		open, _ := site(t, Config{})
		for _, tt := range []struct {
			s    *Site
			addr netip.Addr
			want error
		}{
			{natted, public, ErrConfig},
			{natted, inner, nil},
			{open, inner, ErrConfig},
			{open, public, nil},
			{open, public, ErrConfig},
		} {
			h, err := tt.s.AddHost(tt.addr)
			if !errors.Is(err, tt.want) {
				t.Errorf("AddHost(%v): %v, want %v", tt.addr, err, tt.want)
			}
			if err != nil {
				continue
			}
			for _, addr := range []string{"0.0.0.0:0", "[::]:1", "1.2.3.4:1"} {
				if _, err := h.Listen(netip.MustParseAddrPort(addr), nil); err == nil {
					t.Errorf("Listen(%s) on %v succeeded", addr, tt.addr)
				}
			}
		}
		for i, dst := range []string{"5.0.0.2:49152", "5.0.0.1:80", "5.0.0.1:49152"} {
			natted.Ingress(netip.MustParseAddrPort("8.8.8.8:53"), netip.MustParseAddrPort(dst), nil)
			if got, want := natted.Unroutable.Load(), uint64(min(i+1, 2)); got != want {
				t.Errorf("Unroutable = %d after a packet to %s, want %d", got, dst, want)
			}
		}
		natted.Ingress(netip.AddrPort{}, netip.AddrPortFrom(public, firstPort), nil)
		if got := natted.Unroutable.Load(); got != 3 {
			t.Errorf("Unroutable = %d after a packet from nowhere, want 3", got)
		}
		if err := errors.Join(natted.Close(), natted.Close()); err != nil {
			t.Error(err)
		}
		if _, err := natted.AddHost(inner); !errors.Is(err, ErrClosed) {
			t.Errorf("AddHost after Close: %v, want ErrClosed", err)
		}
		if err := natted.Reboot(); !errors.Is(err, ErrClosed) {
			t.Errorf("Reboot after Close: %v, want ErrClosed", err)
		}
	})
}

func ExampleSite() {
	// Two sites, joined by nothing but a function each.
	a, b := public, netip.MustParseAddr("5.0.0.2")
	done := make(chan string)
	var left, right *Site
	left, _ = New(&Config{Public: a, LAN: lan, NAT: true, Egress: func(src, dst netip.AddrPort, p []byte) {
		go right.Ingress(src, dst, p) // Egress must not block
	}})
	defer left.Close()
	right, _ = New(&Config{Public: b, Egress: func(src, dst netip.AddrPort, p []byte) { go left.Ingress(src, dst, p) }})
	defer right.Close()

	server, _ := right.AddHost(b)
	sock, _ := server.Listen(netip.AddrPortFrom(b, 80), func(p []byte, from netip.AddrPort) {
		done <- fmt.Sprintf("%s from %v", p, from)
	})
	defer sock.Close()
	client, _ := left.AddHost(inner)
	out, _ := client.Listen(netip.AddrPortFrom(inner, 4000), func([]byte, netip.AddrPort) {})
	defer out.Close()
	_ = out.Send([]byte("hello"), netip.AddrPortFrom(b, 80))
	fmt.Println(<-done)
	// Output: hello from 5.0.0.1:49152
}
