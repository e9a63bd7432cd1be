// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/turnx"
)

// ErrClosed is what Serve returns after Close. It is net.ErrClosed to errors.Is.
var ErrClosed = fmt.Errorf("relay: server closed: %w", net.ErrClosed)

// hostEvery is how often the machine's addresses are looked up.
const hostEvery = 30 * time.Second

// A Server is a STUN and TURN server. Make it with [New] and run it with [Server.Serve].
type Server struct {
	c       *Config
	log     *slog.Logger
	metrics *metrics
	ports   *portPool
	quota   *quota
	answers *limiter
	conns   *connTable

	hairpin  netip.Addr // where relayed addresses are on this machine; zero: where they are advertised
	policy   atomic.Pointer[Policy]
	draining atomic.Bool

	relayed sync.Map // port (uint16) of every live relayed address

	wg     sync.WaitGroup // loops, streams and allocations
	done   chan struct{}
	mu     sync.Mutex
	closed bool
	gates  map[*gate]*turnx.Server
}

// New checks the configuration. The sockets in it are the server's from here on: Close closes them.
func New(c *Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		c: c, log: c.Log, done: make(chan struct{}), gates: make(map[*gate]*turnx.Server),
		ports:   newPortPool(c.MinPort, c.MaxPort, c.PortRest),
		quota:   newQuota(c.MaxPerUser, c.MaxAllocations),
		answers: newLimiter(c.AnswerRate, c.AnswerBurst),
		conns:   newConnTable(c.MaxConns, c.MaxConnsPerIP),
	}
	if s.metrics, err = newMetrics(s, c.Registerer); err != nil {
		return nil, fmt.Errorf("relay: metrics: %w", err)
	}
	if c.BindIP != c.RelayIP {
		s.hairpin = c.BindIP
		if s.hairpin.IsUnspecified() {
			s.hairpin = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	}
	if err := s.lookUpHost(); err != nil {
		return nil, fmt.Errorf("relay: the addresses of this host: %w", err)
	}
	return s, nil
}

// lookUpHost makes the policy follow the machine's addresses. If they cannot be told, it stays as it is.
func (s *Server) lookUpHost() error {
	p := &Policy{Allow: s.c.AllowPeers, Relay: s.c.RelayIP}
	switch {
	case s.c.AllowHost:
	case s.c.HostAddrs != nil:
		p.Hosts = s.c.HostAddrs()
	default:
		var err error
		if p.Hosts, err = systemAddrs(); err != nil {
			return err
		}
	}
	if old := s.policy.Load(); old != nil && slices.Equal(old.Hosts, p.Hosts) {
		return nil // the pointer doubles as the generation that cached verdicts belong to
	}
	s.policy.Store(p)
	return nil
}

// Serve serves until Close and then returns [ErrClosed], or the error that kept it from starting.
func (s *Server) Serve() error {
	for i, pc := range slices.Concat(s.c.PacketConns, s.c.STUNConns) {
		g := newGate(s, pc, "udp", nil)
		g.stunOnly = i >= len(s.c.PacketConns)
		if err := s.serve(g); err != nil {
			s.Close()
			return err
		}
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	for _, l := range s.c.Listeners {
		s.wg.Go(func() { s.accept(l) })
	}
	if s.c.HostAddrs == nil && !s.c.AllowHost {
		s.wg.Go(s.watchHost)
	}
	s.mu.Unlock()
	<-s.done
	return ErrClosed
}

// serve starts the protocol on one socket or stream.
func (s *Server) serve(g *gate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.wg.Add(1) // until the gate's reader sees the end
	srv, err := turnx.NewServer(&turnx.ServerConfig{
		Conn: g, Realm: s.c.Realm, Key: g.key, Relay: g.relay, Permit: g.permit, Log: s.log,
	})
	if err != nil {
		s.wg.Done()
		return err
	}
	s.gates[g] = srv
	return nil
}

// gone is called once by a gate whose reader has ended.
func (s *Server) gone(g *gate) {
	s.mu.Lock()
	delete(s.gates, g)
	s.mu.Unlock()
	s.wg.Done()
}

func (s *Server) watchHost() {
	t := time.NewTicker(hostEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := s.lookUpHost(); err != nil {
				s.log.Warn("addresses of this host not read", slog.Any("err", err))
			}
		case <-s.done:
			return
		}
	}
}

// Drain stops making allocations: requests are refused with 508, so that clients go elsewhere. Those that exist are
// served and refreshed as before.
func (s *Server) Drain() {
	if !s.draining.Swap(true) {
		s.log.Info("relay drains", slog.Int("allocations", s.Allocations()))
	}
}

// Draining reports whether Drain was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Allocations returns the number of live allocations.
func (s *Server) Allocations() int { return s.quota.live() }

// Shutdown drains, waits until the last allocation is gone or ctx ends, and closes. It returns the cause of ctx's end
// when clients were cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for s.Allocations() > 0 {
		select {
		case <-ctx.Done():
			n := s.Allocations()
			s.Close()
			return fmt.Errorf("relay: %d allocations cut off: %w", n, context.Cause(ctx))
		case <-s.done:
			return nil
		case <-t.C:
		}
	}
	s.Close()
	return nil
}

// Close closes all sockets, streams and allocations and returns when they are gone.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	gates := make([]*turnx.Server, 0, len(s.gates))
	for _, srv := range s.gates {
		gates = append(gates, srv)
	}
	s.mu.Unlock()
	if first {
		close(s.done)
		for _, l := range s.c.Listeners {
			l.Close()
		}
		for _, pc := range slices.Concat(s.c.PacketConns, s.c.STUNConns) {
			pc.Close()
		}
		for _, srv := range gates {
			if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.log.Debug("socket did not close cleanly", slog.Any("err", err))
			}
		}
	}
	s.wg.Wait()
	return nil
}

// judge applies the policy to the address of a permission, which has no port yet.
func (s *Server) judge(peer netip.Addr) Reason {
	if r := s.policy.Load().Check(peer); r != Allowed {
		return r
	}
	if !peer.Unmap().Is4() { // a good address, but our sockets cannot send to it
		return BadFamily
	}
	return Allowed
}

// judgePort decides about one packet. The relay's own address is open as far as it is relayed addresses; its other
// ports belong to this machine.
func (s *Server) judgePort(peer netip.AddrPort) Reason {
	if peer.Addr() != s.c.RelayIP {
		return s.judge(peer.Addr())
	}
	if s.own(peer.Port()) {
		return Allowed
	}
	p := *s.policy.Load()
	p.Relay = netip.Addr{}
	if r := p.Check(peer.Addr()); r != Allowed || s.c.AllowHost {
		return r
	}
	return BadPort
}

// own reports whether a port of the relay's address belongs to a live allocation.
func (s *Server) own(port uint16) bool {
	_, ok := s.relayed.Load(port)
	return ok
}

// outside and inside translate relayed addresses between what is advertised and what the sockets of this machine are
// bound to, for packets from one relayed address to another when the two differ (1:1 NAT).
func (s *Server) inside(to netip.AddrPort) netip.AddrPort {
	if s.hairpin.IsValid() && to.Addr() == s.c.RelayIP {
		return netip.AddrPortFrom(s.hairpin, to.Port())
	}
	return to
}

func (s *Server) outside(from netip.AddrPort) netip.AddrPort {
	if s.hairpin.IsValid() && from.Addr() == s.hairpin && s.own(from.Port()) {
		return netip.AddrPortFrom(s.c.RelayIP, from.Port())
	}
	return from
}
