// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// portTries is how many ports are tried for one allocation when other programs sit on some.
const portTries = 16

var (
	errQuota = errors.New("relay: quota reached")
	errStale = errors.New("relay: allocation without a request")
)

// allocation is one relayed address. It is the connection that the core relays through, so that every packet passes
// WriteTo or ReadFrom here, and the core's closing it is the end of the allocation.
type allocation struct {
	g      *gate
	client netip.AddrPort
	addr   net.Addr // client
	who    string   // user ID
	port   uint16
	pc     net.PacketConn
	udp    *net.UDPConn // pc, when it is one
	once   sync.Once
	heard  atomic.Int64 // when the client last sent anything, in Unix nanoseconds

	// The last peer heard from, as the core wants it; the core's reader only.
	last     netip.AddrPort
	lastAddr net.Addr

	mu     sync.RWMutex
	perms  map[netip.Addr]*grant
	chans  map[uint16]time.Time // until when
	bucket bucket
}

// grant is a permission and the policy under which the address was last found good.
type grant struct {
	until  time.Time
	policy *Policy
}

// relay opens the relayed address for the current request.
func (g *gate) relay(int) (net.PacketConn, netip.AddrPort, error) {
	r, s := &g.cur, g.s
	if r.key == nil {
		return nil, netip.AddrPort{}, errStale
	}
	if s.quota.take(r.who.id) != 0 {
		return nil, netip.AddrPort{}, errQuota
	}
	var (
		pc   net.PacketConn
		port uint16
		err  error
	)
	for range portTries {
		if port, err = s.ports.take(time.Now(), r.even); err != nil {
			break
		}
		if pc, err = s.c.ListenRelay(int(port)); err == nil {
			break
		}
		// Whoever has the port will keep it for a while; a shortage of descriptors is not the port's fault.
		s.ports.putBack(port, errors.Is(err, syscall.EADDRINUSE), time.Now())
	}
	if err != nil {
		s.quota.give(r.who.id)
		s.log.Debug("no relay port", slog.Any("err", err))
		return nil, netip.AddrPort{}, err
	}
	a := &allocation{
		g: g, client: r.client, who: r.who.id, port: port, pc: pc,
		perms: make(map[netip.Addr]*grant), chans: make(map[uint16]time.Time),
	}
	a.udp, _ = pc.(*net.UDPConn)
	a.heard.Store(time.Now().UnixNano())
	if g.stream() {
		a.addr = net.TCPAddrFromAddrPort(r.client)
		_ = g.inner.SetReadDeadline(time.Time{})
	} else {
		a.addr = net.UDPAddrFromAddrPort(r.client)
	}
	g.mu.Lock()
	g.allocs[r.client] = a
	g.mu.Unlock()
	s.relayed.Store(port, struct{}{})
	s.metrics.allocations.WithLabelValues(g.transport).Inc()
	s.wg.Add(1)
	return a, netip.AddrPortFrom(s.c.RelayIP, port), nil
}

// Close is called when the core forgets the allocation. It never fails: the core stops closing the others at the first error.
func (a *allocation) Close() error {
	a.end()
	a.g.mu.Lock()
	defer a.g.mu.Unlock()
	if a.g.evicted[a.client] == a {
		delete(a.g.evicted, a.client)
	}
	return nil
}

// end ends the allocation, whether or not the core knows.
func (a *allocation) end() {
	a.once.Do(func() {
		g, s := a.g, a.g.s
		g.mu.Lock()
		if g.allocs[a.client] == a {
			delete(g.allocs, a.client)
		}
		g.mu.Unlock()
		s.relayed.Delete(a.port)
		a.pc.Close()
		s.ports.give(a.port, time.Now())
		s.quota.give(a.who)
		s.metrics.allocations.WithLabelValues(g.transport).Dec()
		if g.stream() {
			_ = g.inner.SetReadDeadline(time.Now().Add(s.c.IdleStream))
		}
		s.wg.Done()
	})
}

// WriteTo sends a packet of the client to a peer, if the policy consents. What is refused or lost is counted, not
// reported: the core would write a line for each.
func (a *allocation) WriteTo(b []byte, to net.Addr) (int, error) {
	s := a.g.s
	peer := addrPort(to)
	if r := a.judge(peer); r != Allowed {
		s.metrics.denied.WithLabelValues(string(r)).Inc()
		return len(b), nil
	}
	if !a.afford(len(b)) {
		s.metrics.dropped.WithLabelValues("rate").Inc()
		return len(b), nil
	}
	var err error
	if inner := s.inside(peer); a.udp != nil {
		_, err = a.udp.WriteToUDPAddrPort(b, inner)
	} else {
		_, err = a.pc.WriteTo(b, net.UDPAddrFromAddrPort(inner))
	}
	if err != nil {
		s.metrics.dropped.WithLabelValues("peer_unreachable").Inc()
		return len(b), nil //nolint:nilerr // one peer that cannot be reached must not end the allocation
	}
	s.metrics.toPeer.count(len(b))
	return len(b), nil
}

// judge is the policy at every send: a map look-up while the policy stands, the full table when it changed.
func (a *allocation) judge(peer netip.AddrPort) Reason {
	s := a.g.s
	switch {
	case peer.Port() == 0:
		return BadPort
	case peer.Addr() == s.c.RelayIP:
		return s.judgePort(peer)
	}
	now := s.policy.Load()
	a.mu.RLock()
	g := a.perms[peer.Addr()]
	known := g != nil && g.policy == now
	a.mu.RUnlock()
	if known {
		return Allowed
	}
	r := s.judge(peer.Addr())
	if g != nil && r == Allowed {
		a.mu.Lock()
		g.policy = now
		a.mu.Unlock()
	}
	return r
}

// afford takes n bytes of the allocation's rate.
func (a *allocation) afford(n int) bool {
	rate := float64(a.g.s.c.BytesPerSecond)
	if rate <= 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.bucket.last.IsZero() {
		a.bucket = bucket{rate, now} // a second's worth may come at once
	}
	if d := now.Sub(a.bucket.last).Seconds(); d > 0 {
		a.bucket.tokens, a.bucket.last = min(a.bucket.tokens+d*rate, rate), now
	}
	if a.bucket.tokens < float64(n) {
		return false
	}
	a.bucket.tokens -= float64(n)
	return true
}

// ReadFrom returns the next packet of a permitted peer.
func (a *allocation) ReadFrom(b []byte) (int, net.Addr, error) {
	s := a.g.s
	for {
		var (
			n    int
			from netip.AddrPort
			addr net.Addr
			err  error
		)
		if a.udp != nil {
			n, from, err = a.udp.ReadFromUDPAddrPort(b)
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		} else if n, addr, err = a.pc.ReadFrom(b); err == nil {
			from = addrPort(addr)
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) || a.closed() {
				// The library's reader would now delete the allocation of this client, which may be another by now. Its
				// goroutine has nothing else to do.
				a.end()
				runtime.Goexit()
			}
			time.Sleep(time.Millisecond) // ICMP and shortages, never long
			continue
		}
		from = s.outside(from)
		switch {
		case n == len(b):
			a.g.drop("oversize") // cut off by the core's buffer
			continue
		case !a.permits(from.Addr()):
			a.g.drop("unknown_peer")
			continue
		case !a.afford(n):
			a.g.drop("rate")
			continue
		}
		s.metrics.fromPeer.count(n)
		if from != a.last {
			a.last, a.lastAddr = from, net.UDPAddrFromAddrPort(from)
		}
		return n, a.lastAddr, nil
	}
}

// closed reports whether Close has taken the allocation out of the gate.
func (a *allocation) closed() bool { return a.g.allocation(a.client) != a }

func (a *allocation) permits(peer netip.Addr) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.perms[peer] != nil
}

func (a *allocation) hasChannel(n uint16) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	_, ok := a.chans[n]
	return ok
}

// roomFor reports whether permissions for these peers fit, after forgetting the expired.
func (a *allocation) roomFor(peers []netip.Addr, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh := 0
	for _, p := range peers {
		if a.perms[p] == nil {
			fresh++
		}
	}
	limit := a.g.s.c.MaxPermissions
	if len(a.perms)+fresh > limit {
		for p, g := range a.perms {
			if !g.until.After(now) {
				delete(a.perms, p)
			}
		}
	}
	return len(a.perms)+fresh <= limit
}

func (a *allocation) permit(peers []netip.Addr, now time.Time) {
	policy := a.g.s.policy.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range peers {
		a.perms[p] = &grant{now.Add(permissionLife), policy}
	}
}

func (a *allocation) roomForChannel(n uint16, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.chans[n]; ok {
		return true
	}
	limit := a.g.s.c.MaxChannels
	if len(a.chans) >= limit {
		for c, until := range a.chans {
			if !until.After(now) {
				delete(a.chans, c)
			}
		}
	}
	return len(a.chans) < limit
}

func (a *allocation) bind(n uint16, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.chans[n] = now.Add(channelLife)
}

// LocalAddr returns the local address of the relay socket.
func (a *allocation) LocalAddr() net.Addr { return a.pc.LocalAddr() }

// The core sets no deadlines.
func (a *allocation) SetDeadline(time.Time) error      { return nil }
func (a *allocation) SetReadDeadline(time.Time) error  { return nil }
func (a *allocation) SetWriteDeadline(time.Time) error { return nil }
