// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/mdns"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
)

const (
	lanPoll    = 15 * time.Second // between looks at the addresses, where nobody tells of new interfaces
	lanRetry   = 30 * time.Second // until a group that could not be joined is tried again
	maxAsked   = 8                // latest queries of a session that may still be answered
	maxHints   = 4                // answers to a query that are looked into
	lanFamily4 = "udp4"
	lanFamily6 = "udp6"
)

// A lan finds peers on the local network, and lets itself be found, by multicast DNS. docs/PROTOCOL.md §14.
type lan struct {
	e      *Endpoint
	listen func(ctx context.Context, network string, group netip.AddrPort) (net.PacketConn, error)

	mu      sync.Mutex
	conns   map[string]net.PacketConn // by network; none while no group can be joined
	asked   map[mdns.Nonce]*lanQuery
	changed chan struct{} // closed, and replaced, when the network has changed
	answers *mdns.Responder
}

// A lanQuery is a question that somebody may answer.
type lanQuery struct {
	s     *Session
	hints int
}

// newLAN starts looking and listening. It returns nil if the endpoint does not want that or its network cannot.
func newLAN(e *Endpoint) *lan {
	if !e.cfg.LAN {
		return nil
	}
	l := &lan{
		e:       e,
		conns:   make(map[string]net.PacketConn),
		asked:   make(map[mdns.Nonce]*lanQuery),
		changed: make(chan struct{}),
		answers: mdns.NewResponder(mdns.ID(e.id)),
	}
	switch n := e.cfg.Network.(type) {
	case MulticastNetwork:
		l.listen = n.ListenMulticast
	case udp.OS:
		l.listen = func(ctx context.Context, network string, group netip.AddrPort) (net.PacketConn, error) {
			return mdns.Listen(ctx, network, group)
		}
	default:
		e.log.Warn("the network has no multicast: peers on the local network are not found")
		return nil
	}
	for _, s := range e.socks {
		network := lanFamily4
		if s.v6 {
			network = lanFamily6
		}
		c := l.join(network) // now, so that the first dial finds it
		e.wg.Go(func() { l.run(s, network, c) })
	}
	return l
}

// A lanConn is a socket on a group, and what the network was like when it was opened.
type lanConn struct {
	net.PacketConn               // nil if the group could not be joined
	changed        chan struct{} // closed when the network has changed since
	addrs          []netip.Addr  // of this host
}

// join opens the socket on the group of a family.
func (l *lan) join(network string) lanConn {
	l.mu.Lock()
	c := lanConn{changed: l.changed}
	l.mu.Unlock()
	c.addrs, _ = l.e.cfg.Network.LocalAddrs()
	pc, err := l.listen(l.e.ctx, network, mdns.Group(network))
	if err != nil {
		l.e.log.Debug("local network not joined", slog.String("network", network), slog.Any("err", err))
		return c
	}
	c.PacketConn = pc
	l.mu.Lock()
	l.conns[network] = pc
	l.mu.Unlock()
	return c
}

// run listens on the group of one family until the endpoint is closed.
func (l *lan) run(s *socket, network string, c lanConn) {
	for {
		if c.PacketConn != nil {
			stop := context.AfterFunc(l.e.ctx, func() { _ = c.Close() })
			l.read(s, c)
			stop()
			_ = c.Close()
			l.mu.Lock()
			delete(l.conns, network)
			l.mu.Unlock()
		}
		if c.PacketConn == nil || !c.moved() {
			l.await(c.changed) // not at once: a socket that fails may go on failing
		}
		if l.e.ctx.Err() != nil {
			return
		}
		c = l.join(network)
	}
}

// moved reports whether the network is another one than when the socket was opened.
func (c *lanConn) moved() bool {
	select {
	case <-c.changed:
		return true
	default:
		return false
	}
}

// await waits until joining the group may succeed.
func (l *lan) await(changed <-chan struct{}) {
	retry := time.NewTimer(lanRetry)
	defer retry.Stop()
	select {
	case <-changed:
	case <-retry.C:
	case <-l.e.ctx.Done():
	}
}

// networkChanged joins the groups anew, for an interface that has come is not in them, and has sessions that nothing reaches
// look again.
func (l *lan) networkChanged() {
	if l == nil {
		return
	}
	l.mu.Lock()
	close(l.changed)
	l.changed = make(chan struct{})
	for _, pc := range l.conns {
		_ = pc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
	l.mu.Unlock()
	l.e.eachSession(func(s *Session) {
		s.post(func(now time.Time) {
			if s.phase == phaseReady && s.mob.Outage() {
				s.startSeek(now)
			}
		})
	})
}

// read handles what comes by the group until the socket fails or the network has changed.
func (l *lan) read(s *socket, c lanConn) {
	buf := make([]byte, mdns.MaxMessage+1) // one more, so that what is too long shows
	poll := func() {
		if l.e.cfg.NetworkMonitor == nil { // nobody else would tell
			_ = c.SetReadDeadline(time.Now().Add(lanPoll))
		}
	}
	for poll(); !c.moved(); {
		n, from, err := c.ReadFrom(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if addrs, _ := l.e.cfg.Network.LocalAddrs(); !c.moved() && !slices.Equal(c.addrs, addrs) {
				l.networkChanged()
			}
			poll()
		case err != nil && (isClosed(err) || !udp.Temporary(err)):
			return
		case err == nil:
			if u, ok := from.(*net.UDPAddr); ok {
				l.handle(time.Now(), s, c.PacketConn, buf[:n], u)
			}
		}
	}
}

// handle takes a packet from the local network. Most are none of ours.
func (l *lan) handle(now time.Time, s *socket, pc net.PacketConn, b []byte, from *net.UDPAddr) {
	l.mu.Lock()
	admitted := l.answers.Admit(now)
	l.mu.Unlock()
	if !admitted {
		return
	}
	m, ok := mdns.Parse(b)
	switch {
	case !ok:
	case m.Query != nil:
		l.answer(now, s, pc, m.Query, from)
	case m.Answer != nil:
		l.hint(m.Answer)
	}
}

// seeks says whether a peer for whom a policy holds is looked for on the local network, which shows it where we are.
func (e *Endpoint) seeks(p AddressPolicy) bool { return e.lan != nil && (p == Direct || p == LANOnly) }

// answer tells one who knows our ID, and nobody else, where we listen. Strangers get to know it who may dial us there.
func (l *lan) answer(now time.Time, s *socket, pc net.PacketConn, q *mdns.Query, from *net.UDPAddr) {
	l.mu.Lock()
	wanted := l.answers.Wants(now, q, from.AddrPort().Addr())
	l.mu.Unlock()
	if !wanted {
		return
	}
	policy := l.e.addressPolicy(strangers)
	if !l.e.seeks(policy) {
		return
	}
	addrs := l.addrsFor(s, pc, from)
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool {
		return len(l.e.dialableAddrs(policy, []netip.AddrPort{netip.AddrPortFrom(a, 1)})) == 0
	})
	if len(addrs) == 0 {
		return
	}
	network, to := lanFamily4, net.Addr(from)
	if s.v6 {
		network = lanFamily6
	}
	if !q.Unicast {
		to = net.UDPAddrFromAddrPort(mdns.Group(network))
	}
	b := mdns.AppendAnswer(nil, q, mdns.ID(l.e.id), s.conn.LocalAddr().Port(), addrs)
	if _, err := pc.WriteTo(b, to); err != nil {
		l.e.log.Debug("local network: answer not sent", slog.Any("err", err))
	}
}

// addrsFor lists our addresses on the link that a query has come from.
func (l *lan) addrsFor(s *socket, pc net.PacketConn, from net.Addr) []netip.Addr {
	local := s.conn.LocalAddr().Addr()
	if !local.IsUnspecified() {
		return []netip.Addr{local}
	}
	var all []netip.Addr
	if c, ok := pc.(interface{ LocalAddrs(net.Addr) []netip.Addr }); ok {
		all = c.LocalAddrs(from)
	} else {
		all, _ = l.e.cfg.Network.LocalAddrs()
	}
	all = slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return a.Is6() != s.v6 || !l.usable(a) })
	return all[:min(len(all), mdns.MaxAddrs)]
}

// usable says whether an address may be told, or believed. Unlike where a rendezvous is between the peers, a link-local
// address of IPv4 means the same to both.
func (l *lan) usable(a netip.Addr) bool {
	return l.e.usable(netip.AddrPortFrom(a, 1)) || a.Is4() && a.IsLinkLocalUnicast()
}

// ask sends a query for the peer of s by each family, and returns the nonces. They differ, for a peer answers only the
// first that it hears of the same.
func (l *lan) ask(now time.Time, s *Session, unicast bool) (asked []mdns.Nonce) {
	l.mu.Lock()
	conns := maps.Clone(l.conns)
	l.mu.Unlock()
	for network, pc := range conns {
		q := mdns.Query{Unicast: unicast}
		_, _ = rand.Read(q.Nonce[:])
		l.mu.Lock()
		l.asked[q.Nonce] = &lanQuery{s: s}
		l.mu.Unlock()
		asked = append(asked, q.Nonce)
		if _, err := pc.WriteTo(mdns.AppendQuery(nil, q, mdns.ID(s.id), now), net.UDPAddrFromAddrPort(mdns.Group(network))); err != nil {
			l.e.log.Debug("local network: query not sent", slog.String("network", network), slog.Any("err", err))
		}
	}
	return asked
}

// forget stops waiting for the answer to a query.
func (l *lan) forget(n mdns.Nonce) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.asked, n)
}

// hint takes an answer, which anybody may have made who knows the peer's ID: it says where to look and nothing more.
func (l *lan) hint(a *mdns.Answer) {
	l.mu.Lock()
	q := l.asked[a.Nonce]
	if q == nil || q.hints >= maxHints || !a.Authentic(mdns.ID(q.s.id)) {
		l.mu.Unlock()
		return
	}
	q.hints++
	l.mu.Unlock()
	var found []netip.AddrPort
	for _, ip := range a.Addrs {
		if l.usable(ip) {
			found = append(found, netip.AddrPortFrom(ip, a.Port))
		}
	}
	if len(found) > 0 {
		q.s.tell(func(now time.Time) { q.s.foundNearby(now, found) })
	}
}
