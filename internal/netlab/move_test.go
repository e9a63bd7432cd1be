// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

func localAddr(t *testing.T, h *netlab.Host) netip.Addr {
	t.Helper()
	addrs, err := h.LocalAddrs()
	if err != nil || len(addrs) == 0 {
		t.Fatalf("LocalAddrs = %v, %v, want one", addrs, err)
	}
	return addrs[0]
}

func TestMoveTo(t *testing.T) {
	for _, nat := range []netlab.NAT{netlab.Public, netlab.FullCone, netlab.SymmetricRandom} {
		t.Run(nat.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
				h, server := l.host(netlab.FullCone), l.host(netlab.Public)
				s := l.listen(server, 1)
				old, public := localAddr(t, h), h.PublicAddr()
				wild := l.listen(h, 1000)
				pc, err := h.ListenPacket(t.Context(), "udp4", netip.AddrPortFrom(old, 2000))
				if err != nil {
					t.Fatal(err)
				}
				bound := &sock{t, pc}
				wild.send(s.addr(server), "before")
				ext := s.want("before")

				if err := h.MoveTo(nat); err != nil {
					t.Fatal(err)
				}
				if a := localAddr(t, h); a == old {
					t.Errorf("the local address is %v as before", a)
				}
				if a := h.PublicAddr(); a == public {
					t.Errorf("the public address is %v as before", a)
				}
				s.send(ext, "to the old site")
				wild.wantNone("the host has left")
				wild.send(s.addr(server), "after")
				now := s.want("after")
				if now.Addr() != h.PublicAddr() {
					t.Errorf("the packet came from %v, want the new site's %v", now, h.PublicAddr())
				}
				s.send(now, "answer")
				wild.want("answer")
				if _, err := bound.WriteTo(nil, s.LocalAddr()); !errors.Is(err, syscall.ENETUNREACH) {
					t.Errorf("a socket bound to the old address: %v, want ENETUNREACH", err)
				}
			})
		})
	}
}

func TestMoveBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		a, b := l.host(netlab.Symmetric), l.host(netlab.PortRestricted)
		sa, sb := l.listen(a, 1), l.listen(b, 1)
		if err := a.MoveBehind(b); err != nil {
			t.Fatal(err)
		}
		sa.send(netip.AddrPortFrom(localAddr(t, b), 1), "neighbour")
		sb.want("neighbour")
		if a.PublicAddr() != b.PublicAddr() {
			t.Errorf("public addresses %v and %v, want one", a.PublicAddr(), b.PublicAddr())
		}
		if err := a.MoveBehind(l.host(netlab.Public)); !errors.Is(err, netlab.ErrConfig) {
			t.Errorf("behind a public host: %v, want ErrConfig", err)
		}
	})
}

func TestDetachAndAttach(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		h, server := l.host(netlab.PortRestricted), l.host(netlab.Public)
		sh, ss := l.listen(h, 1), l.listen(server, 1)
		sh.send(ss.addr(server), "x")
		ext, local := ss.want("x"), localAddr(t, h)

		h.Detach()
		h.Detach()
		if addrs, _ := h.LocalAddrs(); len(addrs) != 0 {
			t.Errorf("detached host has addresses %v", addrs)
		}
		if _, err := sh.WriteTo(nil, ss.LocalAddr()); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("WriteTo while detached: %v, want ENETUNREACH", err)
		}
		ss.send(ext, "lost")
		sh.wantNone("detached")
		for range 2 {
			if err := h.Attach(); err != nil {
				t.Fatal(err)
			}
		}
		if a := localAddr(t, h); a != local {
			t.Errorf("address is %v after Attach, want %v again", a, local)
		}
		ss.send(ext, "back")
		sh.want("back")

		h.Detach()
		if err := h.MoveTo(netlab.FullCone); err != nil {
			t.Fatal(err)
		}
		if err := h.Attach(); err != nil || localAddr(t, h) == local {
			t.Errorf("Attach after a move: %v, address %v, want it to do nothing", err, localAddr(t, h))
		}
	})
}

func TestRenumber(t *testing.T) {
	for _, nat := range []netlab.NAT{netlab.Public, netlab.PortRestricted} {
		t.Run(nat.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
				h, server := l.host(nat), l.host(netlab.Public)
				sh, ss := l.listen(h, 1), l.listen(server, 1)
				sh.send(ss.addr(server), "x")
				old, local := ss.want("x"), localAddr(t, h)
				v := h.View()
				if err := h.Renumber(); err != nil {
					t.Fatal(err)
				}
				ss.send(old, "lost")
				sh.wantNone("the site has another address")
				sh.send(ss.addr(server), "y")
				now := ss.want("y")
				if now.Addr() == old.Addr() || now.Addr() != h.PublicAddr() {
					t.Errorf("packet from %v, before %v, want another address that is %v", now, old, h.PublicAddr())
				}
				ss.send(now, "answer")
				sh.want("answer")

				public := nat == netlab.Public
				if changed := localAddr(t, h) != local; changed != public {
					t.Errorf("local address changed: %v, want %v", changed, public)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if told := v.WaitChange(ctx) == nil; told != public {
					t.Errorf("the host was told: %v, want %v", told, public)
				}
			})
		})
	}
}

func TestWaitChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{})
		h := l.host(netlab.FullCone)
		views := []interface {
			WaitChange(ctx context.Context) error
		}{h, h.View(), h.View()}
		quiet := func(why string) {
			t.Helper()
			for i, v := range views {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				if err := v.WaitChange(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("view %d: %v, want nothing: %s", i, err, why)
				}
				cancel()
			}
		}
		if err := h.Rebind(); err != nil {
			t.Fatal(err)
		}
		h.SetDown(true)
		h.SetDown(false)
		quiet("the host cannot know of it")
		h.Detach()
		if err := h.Attach(); err != nil {
			t.Fatal(err)
		}
		if err := h.MoveTo(netlab.Symmetric); err != nil {
			t.Fatal(err)
		}
		for i, v := range views {
			if err := v.WaitChange(t.Context()); err != nil {
				t.Errorf("view %d did not hear of what happened meanwhile: %v", i, err)
			}
		}
		quiet("three changes are one")

		done := make(chan error)
		for _, v := range views {
			go func() { done <- v.WaitChange(t.Context()) }()
		}
		synctest.Wait()
		h.Detach()
		for range views {
			if err := <-done; err != nil {
				t.Errorf("waiting for Detach: %v", err)
			}
		}
		go func() { done <- h.WaitChange(t.Context()) }()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, netlab.ErrClosed) {
			t.Errorf("WaitChange on a closed network: %v, want ErrClosed", err)
		}
	})
}

func TestTwoUplinks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t, netlab.Config{OneWay: 10 * time.Millisecond})
		h, server := l.host(netlab.FullCone), l.host(netlab.Public)
		sh, ss := l.listen(h, 1), l.listen(server, 1)
		sh.send(ss.addr(server), "x")
		wifi, first := ss.want("x"), localAddr(t, h)
		second, err := h.AddInterface(netlab.HostConfig{NAT: netlab.FullCone})
		if err != nil {
			t.Fatal(err)
		}
		sh.send(ss.addr(server), "x")
		if got := ss.want("x"); got != wifi {
			t.Errorf("a second interface took packets from %v to %v before it was the default", wifi, got)
		}
		pc, err := h.ListenPacket(t.Context(), "udp4", netip.AddrPortFrom(second, 2))
		if err != nil {
			t.Fatal(err)
		}
		(&sock{t, pc}).send(ss.addr(server), "bound")
		if got := ss.want("bound"); got.Addr() == wifi.Addr() {
			t.Errorf("a socket bound to the second interface sent from %v", got)
		}
		if err := h.SetDefault(second); err != nil {
			t.Fatal(err)
		}
		sh.send(ss.addr(server), "x")
		mobile := ss.want("x")
		if mobile.Addr() == wifi.Addr() {
			t.Errorf("packets come from %v after SetDefault, want the other interface", mobile)
		}
		for _, to := range []netip.AddrPort{wifi, mobile} {
			ss.send(to, "in")
			sh.want("in")
		}
		if err := h.RemoveInterface(second); err != nil {
			t.Fatal(err)
		}
		sh.send(ss.addr(server), "x")
		if got := ss.want("x"); got != wifi {
			t.Errorf("packets come from %v, want %v as at first", got, wifi)
		}
		ss.send(mobile, "lost")
		sh.wantNone("the interface is gone")
		if got := localAddr(t, h); got != first {
			t.Errorf("local address %v, want %v", got, first)
		}
		if err := h.SetDefault(second); !errors.Is(err, netlab.ErrConfig) {
			t.Errorf("SetDefault to what is gone: %v, want ErrConfig", err)
		}
	})
}
