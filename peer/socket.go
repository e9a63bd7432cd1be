// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A socket is one UDP socket of an endpoint; there is one for each address family.
type socket struct {
	conn *lasting
	v6   bool
}

// openSockets opens the sockets that cfg asks for. A host that lacks one address family is served by the other.
func openSockets(ctx context.Context, cfg *Config) ([]*socket, error) {
	want := cfg.ListenAddr
	var socks []*socket
	var errs []error
	open := func(network string, addr netip.AddrPort, v6 bool) {
		conn, err := newLasting(ctx, cfg.openSocket, network, addr)
		if err != nil {
			errs = append(errs, err)
			return
		}
		socks = append(socks, &socket{conn: conn, v6: v6})
	}
	switch {
	case want.Addr().IsValid() && want.Addr().Unmap().Is4():
		open("udp4", netip.AddrPortFrom(want.Addr().Unmap(), want.Port()), false)
	case want.Addr().IsValid():
		open("udp6", want, true)
	default:
		open("udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), want.Port()), false)
		open("udp6", netip.AddrPortFrom(netip.IPv6Unspecified(), want.Port()), true)
	}
	failed := slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, errors.ErrUnsupported) })
	if len(socks) == 0 || failed {
		for _, s := range socks {
			_ = s.conn.Close()
		}
		return nil, errors.Join(errs...)
	}
	return socks, nil
}

func (c *Config) openSocket(ctx context.Context, network string, addr netip.AddrPort) (*udp.Conn, error) {
	pc, err := c.Network.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return udp.New(pc), nil
}

// socketFor returns the socket that reaches addr, or nil.
func (e *Endpoint) socketFor(addr netip.Addr) *socket {
	v6 := addr.Is6() && !addr.Is4In6()
	for _, s := range e.socks {
		if s.v6 == v6 {
			return s
		}
	}
	return nil
}

var errNoSocket = errors.New("peer: no socket for this address family")

// writeDirect sends b from the endpoint's own socket.
func (e *Endpoint) writeDirect(b []byte, to netip.AddrPort) error {
	s := e.socketFor(to.Addr())
	if s == nil {
		return errNoSocket
	}
	if e.cond.take(sending, b, len(b), to, wire.NotECT) {
		return nil
	}
	return s.conn.WriteTo(b, to)
}

// writeBatch sends the packets in b, of segment bytes each but for the last, by binding via: 0 is the endpoint's own
// sockets, less an extra socket of a session, more a relay allocation. It returns how many were taken, and does not block beyond what a UDP send does.
func (e *Endpoint) writeBatch(via int32, b []byte, segment int, to netip.AddrPort, mark wire.ECN) (sent int, err error) {
	if via == 0 {
		s := e.socketFor(to.Addr())
		if s == nil {
			return 0, errNoSocket
		}
		if e.cond.take(sending, b, segment, to, mark) {
			return (len(b) + segment - 1) / segment, nil
		}
		return s.conn.WriteBatch(b, segment, to, mark)
	}
	if via < 0 {
		x := e.extra(via)
		if x == nil {
			return 0, errNoSocket
		}
		return x.write(b, segment, to, mark)
	}
	for len(b) > 0 {
		n := min(segment, len(b))
		if e := e.relays.write(via, b[:n], to); e == nil {
			sent++
		} else if err == nil {
			err = e
		}
		b = b[n:]
	}
	return sent, err
}

// readLoop owns reading from s until the endpoint is closed.
func (e *Endpoint) readLoop(s *socket) {
	buf := udp.GetBuffer(udp.MaxBatch)
	defer func() { buf.Release() }()
	health := nurse{e: e, s: s}
	for {
		r, err := s.conn.ReadBatch(buf.Bytes())
		if err != nil {
			if !health.failed(err) {
				return
			}
			continue
		}
		health.well()
		if e.cond.take(receiving, buf.Bytes()[:r.N], r.Segment, r.From, r.ECN) {
			continue
		}
		e.handleBatch(buf, r)
		if buf.Shared() { // by sessions, with what was in it
			buf.Release()
			buf = udp.GetBuffer(udp.MaxBatch)
		}
	}
}

// handleDatagram sorts a datagram of the shared socket that is no packet of ours by its first byte (RFC 7983,
// RFC 9443). b is reused by the caller.
func (e *Endpoint) handleDatagram(b []byte, from netip.AddrPort) {
	switch udp.Classify(b) {
	case udp.STUN:
		if !stunx.Sane(b) {
			e.drop(dropBadSTUN)
			return
		}
		if e.relays.deliver(b, from) || e.stun.handle(b, from) || e.mux.HandleSTUN(b, from) {
			return
		}
		e.drop(dropForeignSTUN)
	case udp.TURNChannel:
		if !e.relays.deliver(b, from) {
			e.drop(dropForeignSTUN)
		}
	default:
		e.drop(dropUnknownClass)
	}
}
