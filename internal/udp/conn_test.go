// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// slowConn hides the fast methods of a *net.UDPConn, so that it is used as a virtual socket would be.
type slowConn struct{ net.PacketConn }

func listen(t testing.TB, network string) net.PacketConn {
	t.Helper()
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	if network == "udp6" {
		addr = netip.MustParseAddrPort("[::1]:0")
	}
	pc, err := Listen(t.Context(), network, addr)
	if err != nil {
		if network == "udp6" {
			t.Skipf("no IPv6 here: %v", err)
		}
		t.Fatalf("Listen: %v", err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

func TestConn(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		for _, fast := range []bool{true, false} {
			t.Run(fmt.Sprintf("network=%s/fast=%v", network, fast), func(t *testing.T) {
				mk := func() *Conn {
					pc := listen(t, network)
					if !fast {
						pc = slowConn{pc}
					}
					return New(pc)
				}
				a, b := mk(), mk()
				if (a.fast != nil) != fast {
					t.Fatalf("fast path = %v, want %v", a.fast != nil, fast)
				}
				if err := a.WriteTo([]byte("hello"), b.LocalAddr()); err != nil {
					t.Fatalf("WriteTo: %v", err)
				}
				buf := make([]byte, MaxBatch)
				r, err := b.ReadBatch(buf)
				if err != nil || string(buf[:r.N]) != "hello" || r.Segment != 5 || r.From != a.LocalAddr() {
					t.Errorf("ReadBatch = %+v, %v with %q; want hello from %v", r, err, buf[:r.N], a.LocalAddr())
				}
				b.Close()
				if _, err := b.ReadBatch(buf); !errors.Is(err, net.ErrClosed) || Temporary(err) {
					t.Errorf("ReadBatch after Close = %v (temporary %v), want net.ErrClosed, not temporary", err, Temporary(err))
				}
			})
		}
	}
}

// TestConnUnmaps: an IPv4-mapped destination on an IPv4 socket is an IPv4 destination.
func TestConnUnmaps(t *testing.T) {
	a, b := New(listen(t, "udp4")), New(listen(t, "udp4"))
	to := netip.AddrPortFrom(netip.AddrFrom16(b.LocalAddr().Addr().As16()), b.LocalAddr().Port())
	if !to.Addr().Is4In6() {
		t.Fatalf("%v is not IPv4-mapped", to)
	}
	if err := a.WriteTo([]byte("x"), to); err != nil {
		t.Fatalf("WriteTo(%v): %v", to, err)
	}
	var buf [8]byte
	if r, err := b.ReadBatch(buf[:]); err != nil || r.From.Addr().Is4In6() {
		t.Errorf("ReadBatch = %+v, %v; want an IPv4 address", r, err)
	}
	if got := unmap(to); got != b.LocalAddr() {
		t.Errorf("unmap(%v) = %v, want %v", to, got, b.LocalAddr())
	}
}

// TestConnSurvivesICMP: a refused datagram may make a later call fail; reading must be able to go on.
func TestConnSurvivesICMP(t *testing.T) {
	a := New(listen(t, "udp4"))
	gone := New(listen(t, "udp4"))
	to := gone.LocalAddr()
	gone.Close()
	for range 3 {
		if err := a.WriteTo([]byte("x"), to); err != nil && !Temporary(err) {
			t.Fatalf("WriteTo a closed port: %v, which is not temporary", err)
		}
	}
	b := New(listen(t, "udp4"))
	if err := b.WriteTo([]byte("y"), a.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	var buf [8]byte
	for {
		r, err := a.ReadBatch(buf[:])
		if err == nil {
			if string(buf[:r.N]) != "y" {
				t.Errorf("got %q, want y", buf[:r.N])
			}
			return
		}
		if !Temporary(err) {
			t.Fatalf("ReadBatch: %v, which is not temporary", err)
		}
	}
}

type stringAddr string

func (stringAddr) Network() string  { return "virtual" }
func (a stringAddr) String() string { return string(a) }

func TestAddrPort(t *testing.T) {
	for _, tt := range []struct {
		in   net.Addr
		want string // empty: error
	}{
		{&net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 5}, "192.0.2.1:5"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 5}, "[2001:db8::1]:5"},
		{stringAddr("192.0.2.1:7"), "192.0.2.1:7"},
		{stringAddr("[::ffff:192.0.2.1]:7"), "192.0.2.1:7"},
		{stringAddr("pipe"), ""},
		{nil, ""},
	} {
		got, err := addrPort(tt.in)
		if tt.want == "" {
			if err == nil {
				t.Errorf("addrPort(%v) = %v, want an error", tt.in, got)
			}
			continue
		}
		if err != nil || got.String() != tt.want {
			t.Errorf("addrPort(%v) = %v, %v; want %v", tt.in, got, err, tt.want)
		}
	}
}

func TestTemporary(t *testing.T) {
	refused := &net.OpError{Op: "read", Err: os.NewSyscallError("recvfrom", syscall.ECONNREFUSED)}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{net.ErrClosed, false},
		{io.EOF, false},
		{os.ErrDeadlineExceeded, false},
		{syscall.EBADF, false},
		{errors.New("unknown"), false},
		{refused, true},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true}, // Windows: WSAECONNRESET
		{&net.OpError{Op: "write", Err: syscall.ENETUNREACH}, true},
		{&net.OpError{Op: "write", Err: syscall.EHOSTUNREACH}, true},
		{fmt.Errorf("wrapped: %w", refused), true},
	} {
		if got := Temporary(tt.err); got != tt.want {
			t.Errorf("Temporary(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestListenErrors(t *testing.T) {
	if _, err := Listen(t.Context(), "udp", netip.AddrPort{}); err == nil {
		t.Error(`Listen("udp") succeeds; a socket of both families would see IPv4-mapped addresses`)
	}
	if _, err := Listen(t.Context(), "udp4", netip.MustParseAddrPort("[::1]:0")); err == nil {
		t.Error("Listen(udp4) accepts an IPv6 address")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if pc, err := Listen(ctx, "udp4", netip.AddrPort{}); err == nil {
		pc.Close() // the system may bind without looking at ctx
	}
}

func TestListenBothFamiliesOnOnePort(t *testing.T) {
	v4, err := Listen(t.Context(), "udp4", netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer v4.Close()
	port := New(v4).LocalAddr().Port()
	v6, err := Listen(t.Context(), "udp6", netip.AddrPortFrom(netip.Addr{}, port))
	if err != nil {
		t.Skipf("no IPv6 here, or its port %d is taken: %v", port, err)
	}
	v6.Close()
}

func TestOS(t *testing.T) {
	var nw OS
	pc, err := nw.ListenPacket(t.Context(), "udp4", netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if c, err := nw.DialContext(ctx, "tcp", "127.0.0.1:1"); err == nil {
		c.Close()
		t.Error("DialContext with a passed deadline succeeds")
	}
	addrs, err := nw.LocalAddrs()
	if err != nil {
		t.Fatalf("LocalAddrs: %v", err)
	}
	for _, a := range addrs {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			t.Errorf("LocalAddrs gives %v", a)
		}
	}
}

func TestUsable(t *testing.T) {
	parse := func(s ...string) (a []netip.Addr) {
		for _, s := range s {
			a = append(a, netip.MustParseAddr(s))
		}
		return a
	}
	many := make([]netip.Addr, 100)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	}
	for _, tt := range []struct {
		name      string
		all, want []netip.Addr
	}{
		{"nothing", nil, nil},
		{
			"the usual host",
			parse("127.0.0.1", "::1", "192.168.1.5", "fe80::1", "2001:db8::5", "fd00::5", "169.254.1.1", "192.168.1.5"),
			parse("192.168.1.5", "2001:db8::5", "fd00::5"),
		},
		{"link-local only", parse("127.0.0.1", "169.254.1.1", "fe80::1"), parse("169.254.1.1")},
		{"offline", parse("127.0.0.1", "::1", "fe80::1"), parse("127.0.0.1", "::1")},
		{"no nonsense", parse("0.0.0.0", "224.0.0.1", "ff02::1", "::"), nil},
		{"a host of containers", many, many[:MaxLocalAddrs]},
	} {
		if got := usable(tt.all); !slices.Equal(got, tt.want) {
			t.Errorf("%s: usable = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNoAllocationsPerDatagram(t *testing.T) {
	a, b := New(listen(t, "udp4")), New(listen(t, "udp4"))
	to := b.LocalAddr()
	msg := make([]byte, 1200)
	n := testing.AllocsPerRun(100, func() {
		buf := GetBuffer(MaxBatch)
		if err := a.WriteTo(msg, to); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ReadBatch(buf.Bytes()); err != nil {
			t.Fatal(err)
		}
		buf.Release()
	})
	if n != 0 {
		t.Errorf("a datagram sent and received allocates %v times, want 0", n)
	}
}

func BenchmarkLoopback(b *testing.B) {
	x, y := New(listen(b, "udp4")), New(listen(b, "udp4"))
	to := y.LocalAddr()
	msg := make([]byte, 1200)
	buf := make([]byte, MaxBatch)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if err := x.WriteTo(msg, to); err != nil {
			b.Fatal(err)
		}
		if _, err := y.ReadBatch(buf); err != nil {
			b.Fatal(err)
		}
	}
}
