// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netlab"
)

// lab is a network whose methods fail the test instead of returning errors.
type lab struct {
	t *testing.T
	*netlab.Network
}

func newLab(t *testing.T, c netlab.Config) *lab {
	t.Helper()
	n, err := netlab.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &lab{t, n}
}

func (l *lab) host(nat netlab.NAT) *netlab.Host {
	l.t.Helper()
	h, err := l.AddHost(nat)
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

// sock is a socket on a host.
type sock struct {
	t *testing.T
	net.PacketConn
}

func (l *lab) listen(h *netlab.Host, port uint16) *sock {
	l.t.Helper()
	pc, err := h.ListenPacket(l.t.Context(), "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	if err != nil {
		l.t.Fatal(err)
	}
	return &sock{l.t, pc}
}

func (s *sock) send(to netip.AddrPort, b string) {
	s.t.Helper()
	if _, err := s.WriteTo([]byte(b), net.UDPAddrFromAddrPort(to)); err != nil {
		s.t.Fatal(err)
	}
}

// recv returns the next packet that arrives within a second.
func (s *sock) recv() (b string, from netip.AddrPort, ok bool) {
	s.t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 2048)
	n, addr, err := s.ReadFrom(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", netip.AddrPort{}, false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(buf[:n]), addr.(*net.UDPAddr).AddrPort(), true
}

// want fails the test unless the next packet is b; it returns its sender.
func (s *sock) want(b string) netip.AddrPort {
	s.t.Helper()
	got, from, ok := s.recv()
	if !ok || got != b {
		s.t.Fatalf("got packet %q (%v), want %q", got, ok, b)
	}
	return from
}

// wantNone fails the test if a packet arrives within a second.
func (s *sock) wantNone(why string) {
	s.t.Helper()
	if b, from, ok := s.recv(); ok {
		s.t.Fatalf("got packet %q from %v, want none: %s", b, from, why)
	}
}

func (s *sock) addr(h *netlab.Host) netip.AddrPort {
	return netip.AddrPortFrom(h.PublicAddr(), s.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
