// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// A socket is a UDP socket for both families at a host.
type socket struct {
	*net.UDPConn
	host *Host
}

func (s *socket) port() uint16 { return uint16(s.LocalAddr().(*net.UDPAddr).Port) }

// addr is where the socket is reached inside its site.
func (s *socket) addr() netip.AddrPort { return netip.AddrPortFrom(s.host.Addr(), s.port()) }

func listen(t *testing.T, h *Host) *socket {
	t.Helper()
	s := &socket{host: h}
	err := h.Do(func() (err error) {
		s.UDPConn, err = net.ListenUDP("udp", nil)
		return err
	})
	if err != nil {
		t.Fatalf("socket at %s: %v", h.name, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func send(t *testing.T, s *socket, b string, to netip.AddrPort) {
	t.Helper()
	if _, err := s.WriteToUDPAddrPort([]byte(b), to); err != nil {
		t.Fatalf("%s sends to %v: %v", s.host.name, to, err)
	}
}

// receive returns the next packet, or no address when there is none in time.
func receive(t *testing.T, s *socket, wait time.Duration) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 2048)
	s.SetReadDeadline(time.Now().Add(wait))
	n, from, err := s.ReadFromUDPAddrPort(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", netip.AddrPort{}
	}
	if err != nil {
		t.Fatalf("%s receives: %v", s.host.name, err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// newEcho starts a server that tells every sender its address, and returns where.
func newEcho(t *testing.T, h *Host) netip.AddrPort {
	t.Helper()
	s := listen(t, h)
	go func() {
		b := make([]byte, 2048)
		for {
			_, from, err := s.ReadFromUDPAddrPort(b)
			if err != nil {
				return // closed
			}
			seen := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			_, _ = s.WriteToUDPAddrPort([]byte(seen.String()), from)
		}
	}()
	return s.addr()
}

// mapped asks an echo server how it sees the socket.
func mapped(t *testing.T, s *socket, echo netip.AddrPort) netip.AddrPort {
	t.Helper()
	send(t, s, "who am I", echo)
	b, from := receive(t, s, patience)
	if from != echo {
		t.Fatalf("%s asked %v and heard %q from %v", s.host.name, echo, b, from)
	}
	seen, err := netip.ParseAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}
