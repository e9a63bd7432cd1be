// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

// peer.Network, spelled out: this package stands below that one.
var _ interface {
	ListenPacket(ctx context.Context, network string, addr netip.AddrPort) (net.PacketConn, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	LocalAddrs() ([]netip.Addr, error)
} = (*netlab.Host)(nil)

func TestListenPacket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		h := l.host(netlab.FullCone)
		addrs, _ := h.LocalAddrs()
		tests := []struct {
			name, network string
			addr          netip.AddrPort
			err           error
		}{
			{"zero address", "udp4", netip.AddrPort{}, nil},
			{"any port", "udp", netip.MustParseAddrPort("0.0.0.0:0"), nil},
			{"dual-stack wildcard", "udp", netip.MustParseAddrPort("[::]:7"), nil},
			{"own address", "udp4", netip.AddrPortFrom(addrs[0], 9), nil},
			{"port in use", "udp4", netip.MustParseAddrPort("0.0.0.0:9"), syscall.EADDRINUSE},
			{"not mine", "udp4", netip.MustParseAddrPort("1.2.3.4:8"), syscall.EADDRNOTAVAIL},
			{"public address behind NAT", "udp4", netip.AddrPortFrom(h.PublicAddr(), 8), syscall.EADDRNOTAVAIL},
			{"IPv6", "udp6", netip.AddrPort{}, errors.ErrUnsupported},
			{"nonsense", "tcp", netip.AddrPort{}, net.UnknownNetworkError("tcp")},
		}
		for _, tt := range tests {
			pc, err := h.ListenPacket(t.Context(), tt.network, tt.addr)
			if !errors.Is(err, tt.err) {
				t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
			}
			if err == nil && pc.LocalAddr().(*net.UDPAddr).Port == 0 {
				t.Errorf("%s: no port in %v", tt.name, pc.LocalAddr())
			}
		}
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		s := l.listen(l.host(netlab.Public), 1)
		read := func() (time.Duration, error) {
			start := time.Now()
			_, _, err := s.ReadFrom(make([]byte, 9))
			return time.Since(start), err
		}
		for _, d := range []time.Duration{time.Second, 0, -time.Hour} {
			if err := s.SetReadDeadline(time.Now().Add(d)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // a deadline stays until it is moved
				got, err := read()
				if !errors.Is(err, os.ErrDeadlineExceeded) || got != max(d, 0) {
					t.Errorf("deadline in %v: read ended after %v with %v", d, got, err)
				}
				d = 0
			}
		}
		// Moving the deadline wakes and re-arms a reader that is already waiting.
		_ = s.SetReadDeadline(time.Now().Add(time.Hour))
		go func() {
			time.Sleep(time.Minute)
			_ = s.SetReadDeadline(time.Now())
		}()
		if d, err := read(); !errors.Is(err, os.ErrDeadlineExceeded) || d != time.Minute {
			t.Errorf("read ended after %v with %v, want the moved deadline after 1m", d, err)
		}
	})
}

func TestCloseUnblocksReader(t *testing.T) {
	for _, which := range []string{"socket", "network"} {
		t.Run(which, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLab(t, netlab.Config{})
				h := l.host(netlab.Symmetric)
				s := l.listen(h, 1)
				got := make(chan error, 1)
				go func() {
					_, _, err := s.ReadFrom(make([]byte, 9))
					got <- err
				}()
				synctest.Wait()
				if which == "socket" {
					if err := s.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				} else if err := l.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				if err := <-got; !errors.Is(err, net.ErrClosed) {
					t.Errorf("reader got %v, want net.ErrClosed", err)
				}
				if _, err := s.WriteTo(nil, s.LocalAddr()); !errors.Is(err, net.ErrClosed) {
					t.Errorf("WriteTo after Close: %v, want net.ErrClosed", err)
				}
				if err := s.Close(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("second Close: %v, want net.ErrClosed", err)
				}
				if which == "socket" { // the port is free again
					l.listen(h, 1)
				}
			})
		})
	}
}

func TestWriteErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		s := l.listen(l.host(netlab.FullCone), 1)
		big := make([]byte, 65508)
		tests := []struct {
			to   net.Addr
			b    []byte
			want error
		}{
			{&net.UDPAddr{IP: net.IPv6loopback, Port: 1}, nil, syscall.ENETUNREACH},
			{&net.UDPAddr{IP: net.IPv4(5, 5, 5, 5), Port: 0}, nil, syscall.ENETUNREACH},
			{&net.TCPAddr{}, nil, netlab.ErrConfig},
			{&net.UDPAddr{IP: net.IPv4(5, 5, 5, 5), Port: 1}, big, syscall.EMSGSIZE},
			{&net.UDPAddr{IP: net.IPv4(5, 5, 5, 5), Port: 1}, big[:1200], nil}, // nobody there: not an error
		}
		for _, tt := range tests {
			if _, err := s.WriteTo(tt.b, tt.to); !errors.Is(err, tt.want) {
				t.Errorf("WriteTo(%d bytes, %v): %v, want %v", len(tt.b), tt.to, err, tt.want)
			}
		}
		synctest.Wait()
		if got := l.Stats(); got.Unroutable != 1 {
			t.Errorf("Unroutable = %d, want 1", got.Unroutable)
		}
	})
}

func TestShortBuffer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		h := l.host(netlab.Public)
		a, b := l.listen(h, 1), l.listen(h, 2)
		a.send(b.addr(h), strings.Repeat("x", 100))
		buf := make([]byte, 10)
		if n, _, err := b.ReadFrom(buf); n != 10 || err != nil {
			t.Errorf("ReadFrom = %d, %v, want 10 bytes and no error, as from a UDP socket", n, err)
		}
	})
}

func TestQueueOverflowIsCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		a, b := l.host(netlab.Public), l.host(netlab.Public)
		sa, sb := l.listen(a, 1), l.listen(b, 1)
		for range 1100 {
			sa.send(sb.addr(b), "x")
			synctest.Wait()
		}
		if got := b.Dropped(); got != 1100-1024 {
			t.Errorf("Dropped = %d, want %d", got, 1100-1024)
		}
	})
}
