// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package vnetx

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/pion/transport/v2"
	"github.com/pion/transport/v2/vnet"
)

// maxPayload is more than any datagram a test sends.
const maxPayload = 64 << 10

// Host is a host's network stack.
type Host struct {
	site *Site
	addr netip.Addr
	net  *vnet.Net
}

// AddHost connects a host. Behind a NAT, addr must lie in the private network; without NAT it must be the
// public address.
func (s *Site) AddHost(addr netip.Addr) (*Host, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.cfg.NAT && !s.cfg.LAN.Contains(addr):
		return nil, fmt.Errorf("%w: %v is not in %v", ErrConfig, addr, s.cfg.LAN)
	case !s.cfg.NAT && (addr != s.cfg.Public || len(s.hosts) > 0):
		return nil, fmt.Errorf("%w: a site without NAT has the one host %v", ErrConfig, s.cfg.Public)
	}
	n, err := newNet(addr)
	if err != nil {
		return nil, fmt.Errorf("vnetx: %w", err)
	}
	h := &Host{site: s, addr: addr, net: n}
	if err := s.connect(h); err != nil {
		return nil, err
	}
	s.hosts = append(s.hosts, h)
	return h, nil
}

// Socket is a bound UDP socket.
type Socket struct {
	host *Host
	conn transport.UDPConn
	done chan struct{}
}

// Listen binds a UDP socket to addr, which must have a port and an address of the host, or the unspecified one.
// One goroutine calls recv with every packet; b is valid during the call.
func (h *Host) Listen(addr netip.AddrPort, recv func(b []byte, from netip.AddrPort)) (*Socket, error) {
	if addr.Port() == 0 || !addr.Addr().Is4() {
		return nil, fmt.Errorf("%w: cannot bind %v", ErrConfig, addr)
	}
	h.site.mu.RLock()
	conn, err := h.net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
	h.site.mu.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("vnetx: %w", err)
	}
	s := &Socket{host: h, conn: conn, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		buf := make([]byte, maxPayload)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			recv(buf[:n], addrPort(from))
		}
	}()
	return s, nil
}

// Send sends one packet. It never blocks; a packet that finds no route is lost, as on a real network.
func (s *Socket) Send(b []byte, to netip.AddrPort) error {
	// The read lock keeps the topology still: pion reads a Net's router without a lock.
	s.host.site.mu.RLock()
	defer s.host.site.mu.RUnlock()
	if _, err := s.conn.WriteTo(b, net.UDPAddrFromAddrPort(to)); err != nil {
		return fmt.Errorf("vnetx: %w", err)
	}
	return nil
}

// Close unbinds the socket and waits until recv has returned for the last time.
func (s *Socket) Close() error {
	err := s.conn.Close()
	<-s.done
	if err != nil {
		return fmt.Errorf("vnetx: %w", err)
	}
	return nil
}
