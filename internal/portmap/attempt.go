// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// maxReadErrors bounds the errors of a socket in one inquiry. On Windows a router without a server for a protocol causes
// one for each packet.
const maxReadErrors = 64

// attempt tries to get or to renew what l shall have.
func (m *Mapper) attempt(ctx context.Context, l *lease) {
	l.tried = time.Now()
	gw, err := m.gateway(ctx, l)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		l.grant, l.gw = nil, Gateway{}
		l.failed(time.Now(), err, false)
		return
	}
	had := l.grant != nil
	l.meet(gw)
	if had && l.grant == nil {
		m.publish(true) // it led to where this host is no longer
	}
	old := l.grant
	if old != nil {
		err = m.renew(ctx, l, old)
	} else {
		err = m.discover(ctx, l)
	}
	log := m.cfg.Log.With(slog.Any("router", l.gw.Addr))
	switch {
	case err == nil && (old == nil || old.external != l.grant.external):
		log.Info("port mapped", slog.String("protocol", l.grant.protocol.String()), slog.Any("external", l.grant.external))
	case err == nil:
		log.Debug("port mapping renewed")
	case ctx.Err() != nil: // whoever interrupted it decides when to try again
	default:
		log.Debug("no port mapping", slog.Bool("v6", l.v6), slog.Any("err", err))
		_, refused := errors.AsType[*RefusedError](err)
		_, notPublic := errors.AsType[*NotPublicError](err)
		l.failed(time.Now(), err, !refused && !notPublic)
	}
}

// gateway finds the router to ask, and whether to ask it.
func (m *Mapper) gateway(ctx context.Context, l *lease) (Gateway, error) {
	gw, err := m.cfg.Gateway(ctx, false)
	if err != nil {
		return gw, err
	}
	if !behindNAT(gw.Local) || !atHome(gw.Addr) {
		return gw, ErrNotPrivate
	}
	if l.v6 {
		if gw, err = m.cfg.Gateway(ctx, true); err != nil {
			return gw, err
		}
		if !public(gw.Local) {
			return gw, &NotPublicError{gw.Local}
		}
	}
	if bound := l.local.Addr(); !bound.IsUnspecified() && bound != gw.Local {
		return gw, ErrNoGateway
	}
	return gw, nil
}

// discover asks for a mapping by every protocol.
func (m *Mapper) discover(ctx context.Context, l *lease) error {
	protocols := m.cfg.protocols
	if l.v6 {
		protocols = []Protocol{PCP}
	}
	q := newInquiry(time.Now(), l.gw.Addr, l.request(leaseTime), &l.epoch, protocols...)
	p, err := m.talk(ctx, l, q)
	if err != nil {
		return err
	}
	if p != UPnP {
		return m.take(ctx, l, q, p)
	}
	ctx, cancel := context.WithTimeout(ctx, maxUPnPAttempt)
	defer cancel()
	found, err := describe(ctx, newClient(l.gw.Addr, m.cfg.Network.DialContext), q.location)
	if err == nil {
		err = ErrSilent
	}
	for _, w := range found {
		if err = m.order(ctx, l, w, false); err == nil {
			return nil
		}
	}
	return err
}

// renew asks the router that has made a mapping to keep it.
func (m *Mapper) renew(ctx context.Context, l *lease, g *grant) error {
	if g.protocol == UPnP {
		ctx, cancel := context.WithTimeout(ctx, maxUPnPAttempt)
		defer cancel()
		return m.order(ctx, l, g.wan, true)
	}
	q := newInquiry(time.Now(), l.gw.Addr, l.request(leaseTime), &l.epoch, g.protocol)
	p, err := m.talk(ctx, l, q)
	if err != nil {
		return err
	}
	return m.take(ctx, l, q, p)
}

// take takes what was granted by PCP or NAT-PMP.
func (m *Mapper) take(ctx context.Context, l *lease, q *inquiry, p Protocol) error {
	now := time.Now()
	if q.lost {
		m.cfg.Log.Info("the router has restarted", slog.Any("router", l.gw.Addr))
		for _, other := range m.leases {
			if other != l && other.grant != nil && now.Sub(other.tried) > time.Minute {
				other.next = now
			}
		}
	}
	g := &grant{protocol: p, external: q.response.external}
	if !public(g.external.Addr()) {
		m.release(ctx, l, g) // of no use to anybody
		return &NotPublicError{g.external.Addr()}
	}
	l.granted(now, g, time.Duration(max(1, q.response.lifetime))*time.Second)
	return nil
}

// order asks for a mapping, or for more time, by UPnP.
func (m *Mapper) order(ctx context.Context, l *lease, w wan, renew bool) error {
	outside, err := outsideOf(ctx, w)
	if err != nil {
		return err
	}
	port, permanent, err := add(ctx, w, order{
		wish:  l.wish.Port(),
		local: netip.AddrPortFrom(l.gw.Local, l.local.Port()),
		lease: uint32(leaseTime / time.Second),
	}, renew)
	if err != nil {
		return err
	}
	lifetime := leaseTime
	if permanent {
		lifetime = 0
	}
	l.granted(time.Now(), &grant{protocol: UPnP, external: netip.AddrPortFrom(outside, port), wan: w}, lifetime)
	return nil
}

// release takes a mapping back.
func (m *Mapper) release(ctx context.Context, l *lease, g *grant) {
	var err error
	if g.protocol == UPnP {
		err = g.wan.DeletePortMappingCtx(ctx, "", g.external.Port(), upnpProtocol)
	} else {
		_, err = m.talk(ctx, l, newInquiry(time.Now(), l.gw.Addr, l.request(0), &l.epoch, g.protocol))
	}
	if err != nil {
		m.cfg.Log.Debug("port mapping not taken back", slog.Any("router", l.gw.Addr), slog.Any("err", err))
	}
}

// end takes everything back. Without any time left it still says so, though it does not wait to be heard.
func (m *Mapper) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, l := range m.leases {
		if l.grant != nil {
			m.release(ctx, l, l.grant)
		}
	}
}

// talk conducts an inquiry.
func (m *Mapper) talk(ctx context.Context, l *lease, q *inquiry) (Protocol, error) {
	network := "udp4"
	if l.v6 {
		network = "udp6"
	}
	// From the address that the router shall map to: it compares (RFC 6887 §8.2).
	conn, err := m.cfg.Network.ListenPacket(ctx, network, netip.AddrPortFrom(l.gw.Local, 0))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, ssdpMaxLen+1)
	for failures := 0; ; {
		now := time.Now()
		for _, d := range q.Poll(now) {
			_, _ = conn.WriteTo(d.b, net.UDPAddrFromAddrPort(d.to)) // lost or not, it is sent again
		}
		if p, done, err := q.outcome(now); done {
			return p, err
		}
		conn.SetReadDeadline(q.NextTimeout())
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, from, err := conn.ReadFrom(buf)
		switch a, ok := from.(*net.UDPAddr); {
		case err == nil && ok:
			ap := a.AddrPort()
			q.HandlePacket(time.Now(), buf[:n], netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
		case isTimeout(err):
		default:
			if failures++; failures == maxReadErrors {
				return 0, errors.Join(ErrSilent, err)
			}
		}
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
