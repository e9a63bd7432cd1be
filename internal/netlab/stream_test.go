// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/condition"
	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

const tcpPort = 443

// streams returns the two ends of a stream from one host to another, the server.
func (l *lab) streams(from, to *netlab.Host) (client, server net.Conn) {
	l.t.Helper()
	ln, err := to.Listen(l.t.Context(), "tcp", netip.AddrPortFrom(netip.IPv4Unspecified(), tcpPort))
	if err != nil {
		l.t.Fatal(err)
	}
	accepted := make(chan net.Conn)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			l.t.Errorf("Accept: %v", err)
		}
		accepted <- c
	}()
	client, err = from.DialContext(l.t.Context(), "tcp", netip.AddrPortFrom(to.PublicAddr(), tcpPort).String())
	if err != nil {
		l.t.Fatal(err)
	}
	return client, <-accepted
}

func echo(c net.Conn) {
	_, _ = io.Copy(c, c)
	_ = c.Close()
}

func say(t *testing.T, c net.Conn, what string) {
	t.Helper()
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("heard %q, %v, want %q", b, err, want)
	}
}

func TestStream(t *testing.T) {
	const ms = time.Millisecond
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * ms})
		server := l.host(netlab.Public)
		client := l.hostWith(netlab.HostConfig{NAT: netlab.Symmetric, BlockUDP: true, OneWay: 10 * ms})
		start := time.Now()
		c, s := l.streams(client, server)
		if d := time.Since(start); d != 60*ms { // the listener has the third segment after one and a half
			t.Errorf("the stream stood after %v, want 60ms", d)
		}
		if got := s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); got != client.PublicAddr() {
			t.Errorf("the server sees %v, want %v", got, client.PublicAddr())
		}
		start = time.Now()
		say(t, c, "ping")
		hear(t, s, "ping")
		say(t, s, "pong")
		hear(t, c, "pong")
		if d := time.Since(start); d != 40*ms {
			t.Errorf("ping and pong took %v, want one round trip of 40ms", d)
		}

		say(t, c, "last words")
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v, want net.ErrClosed", err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v, want net.ErrClosed", err)
		}
		if b, err := io.ReadAll(s); err != nil || string(b) != "last words" {
			t.Errorf("the peer read %q, %v, want the last words", b, err)
		}
		say(t, s, "to nobody")
		time.Sleep(time.Second)
		if _, err := s.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Write to an end that is closed: %v, want ECONNRESET", err)
		}
		_ = s.Close()
	})
}

func TestStreamOverBadLink(t *testing.T) {
	const ms = time.Millisecond
	for name, bad := range map[string]condition.Settings{
		"loss":       {Loss: 0.05},
		"corruption": {Corrupt: 0.05},
		"disorder":   {Reorder: 0.1, ReorderDelay: 5 * ms, Duplicate: 0.1},
		"narrow":     {Bandwidth: 10e6},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLab(t, netlab.Config{OneWay: 5 * ms})
				client, server := l.host(netlab.PortRestricted), l.host(netlab.Public)
				client.SetConditions(bad, bad)
				c, s := l.streams(client, server)
				go echo(s)
				sent := make([]byte, 600_000) // more than two windows
				rng := rand.New(rand.NewPCG(1, 2))
				for i := range sent {
					sent[i] = byte(rng.Uint32())
				}
				go func() {
					if _, err := c.Write(sent); err != nil {
						t.Errorf("Write: %v", err)
					}
				}()
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
					t.Errorf("echo: %v, intact %v", err, bytes.Equal(got, sent))
				}
				_ = c.Close()
				time.Sleep(time.Minute)
			})
		})
	}
}

// A reader that does not read stops the writer, who goes on where he was.
func TestStreamBackPressure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: time.Millisecond})
		c, s := l.streams(l.host(netlab.FullCone), l.host(netlab.Public))
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Minute)) // longer than a dead peer is waited for
		n, err := c.Write(make([]byte, 4<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n > 1<<20 {
			t.Fatalf("Write = %d, %v, want it to stop at the deadline with full buffers", n, err)
		}
		if got, err := io.CopyN(io.Discard, s, int64(n)); got != int64(n) || err != nil {
			t.Errorf("read %d, %v of the %d bytes that were written", got, err, n)
		}
		_ = s.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %d, %v, want the deadline", n, err)
		}
	})
}

func TestStreamsAndChanges(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, client *netlab.Host)
		want   error // that the client gets; nil: it goes on
	}{
		{"hole", func(t *testing.T, h *netlab.Host) {
			h.SetDown(true)
			time.AfterFunc(30*time.Second, func() { h.SetDown(false) })
		}, nil},
		{"long hole", func(t *testing.T, h *netlab.Host) { h.SetDown(true) }, syscall.ETIMEDOUT},
		{"move", func(t *testing.T, h *netlab.Host) { _ = h.MoveTo(netlab.FullCone) }, syscall.ECONNABORTED},
		{"detach", func(t *testing.T, h *netlab.Host) { h.Detach() }, syscall.ECONNABORTED},
		{"rebind", func(t *testing.T, h *netlab.Host) { _ = h.Rebind() }, syscall.ECONNRESET},
		{"renumber", func(t *testing.T, h *netlab.Host) { _ = h.Renumber() }, syscall.ECONNRESET},
		{"another uplink", func(t *testing.T, h *netlab.Host) {
			a, err := h.AddInterface(netlab.HostConfig{NAT: netlab.FullCone})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.SetDefault(a); err != nil {
				t.Fatal(err)
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
				client := l.host(netlab.PortRestricted)
				c, s := l.streams(client, l.host(netlab.Public))
				go echo(s)
				say(t, c, "before")
				hear(t, c, "before")
				tt.change(t, client)
				_, err := io.WriteString(c, "after")
				b := make([]byte, 5)
				if err == nil {
					_, err = io.ReadFull(c, b)
				}
				if !errors.Is(err, tt.want) || err == nil && string(b) != "after" {
					t.Errorf("echo %q, %v, want %v", b, err, tt.want)
				}
				_ = c.Close()
				_ = l.Close()
			})
		})
	}
}

func TestDialErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		h, server, nated := l.host(netlab.FullCone), l.host(netlab.Public), l.host(netlab.FullCone)
		detached := l.host(netlab.FullCone)
		detached.Detach()
		if _, err := nated.Listen(t.Context(), "tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), tcpPort)); err != nil {
			t.Fatal(err)
		}
		at := func(h *netlab.Host) string { return netip.AddrPortFrom(h.PublicAddr(), tcpPort).String() }
		for _, tt := range []struct {
			name, network, addr string
			from                *netlab.Host
			want                error
			after               time.Duration
		}{
			{"nobody listens", "tcp", at(server), h, syscall.ECONNREFUSED, 40 * time.Millisecond},
			{"behind a NAT", "tcp", at(nated), h, syscall.ETIMEDOUT, 2 * time.Minute},
			{"detached", "tcp", at(server), detached, syscall.ENETUNREACH, 0},
			{"no IPv6", "tcp", "[2a05::1]:1", h, syscall.ENETUNREACH, 0},
			{"wrong family", "tcp6", at(server), h, syscall.EAFNOSUPPORT, 0},
			{"a name", "tcp", "example.com:1", h, netlab.ErrConfig, 0},
			{"not TCP", "udp", at(server), h, net.UnknownNetworkError("udp"), 0},
		} {
			start := time.Now()
			_, err := tt.from.DialContext(t.Context(), tt.network, tt.addr)
			if d := time.Since(start); !errors.Is(err, tt.want) || d < tt.after || d > tt.after+20*time.Second {
				t.Errorf("%s: %v after %v, want %v after %v", tt.name, err, d, tt.want, tt.after)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.DialContext(ctx, "tcp", at(nated)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial with a context: %v, want its deadline", err)
		}
	})
}

func TestListenerClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		a := l.host(netlab.FullCone)
		b, err := l.AddHostBehind(a)
		if err != nil {
			t.Fatal(err)
		}
		at := netip.AddrPortFrom(netip.IPv4Unspecified(), tcpPort)
		ln, err := a.Listen(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Listen(t.Context(), "tcp", at); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second Listen: %v, want EADDRINUSE", err)
		}
		c, err := b.DialContext(t.Context(), "tcp", netip.AddrPortFrom(localAddr(t, a), tcpPort).String()) // a neighbour
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want net.ErrClosed", err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a stream that nobody accepted: %v, want ECONNRESET", err)
		}
		if ln, err = a.Listen(t.Context(), "tcp", at); err != nil {
			t.Errorf("Listen again: %v", err)
		}
		done := make(chan error)
		go func() {
			_, err := ln.Accept()
			done <- err
		}()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept on a closed network: %v, want net.ErrClosed", err)
		}
	})
}

func TestStreamIPv6(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		a := l.hostWith(netlab.HostConfig{IPv6: netlab.OnlyIPv6, Firewall: &netlab.NATConfig{Filtering: netlab.AddressAndPortDependent}})
		b := l.hostWith(netlab.HostConfig{IPv6: netlab.DualStack})
		ln, err := b.Listen(t.Context(), "tcp6", netip.AddrPortFrom(addr6(t, b), tcpPort))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if c, err := ln.Accept(); err == nil {
				echo(c)
			}
		}()
		c, err := a.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		say(t, c, "six")
		hear(t, c, "six")
		_ = c.Close()
	})
}
