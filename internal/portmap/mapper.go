// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A Network opens the sockets of a [Mapper].
type Network interface {
	ListenPacket(ctx context.Context, network string, addr netip.AddrPort) (net.PacketConn, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// A Config says what a [Mapper] maps.
type Config struct {
	// V4 and V6 are the local addresses of the UDP sockets that packets from outside shall reach. One that is not valid
	// gets no mapping. One with a specific address gets one only if that is this host's address on the way to the internet.
	V4, V6 netip.AddrPort

	// Network opens sockets. If nil, the operating system does.
	Network Network

	// Gateway finds the router of an address family. If nil, [SystemGateway] does.
	Gateway func(ctx context.Context, v6 bool) (Gateway, error)

	// Changed is called when [Mapper.Addrs] has changed, by the goroutine of the Mapper, which waits for it. It may be nil.
	Changed func()

	// Log receives structured logs. If nil, nothing is logged.
	Log *slog.Logger

	protocols []Protocol // asked for IPv4; tests ask by one
}

// A Status says what has become of the mapping of one address family.
type Status struct {
	V6       bool
	Gateway  Gateway        // zero before one has been found
	Protocol Protocol       // zero without a mapping
	External netip.AddrPort // not valid without a mapping
	Expires  time.Time      // unless renewed; zero if never, or without a mapping
	Err      error          // why there is no mapping; nil also before that is known
}

// A Mapper keeps mappings alive, in one goroutine, from [New] to [Mapper.Close]. Its methods may be called from multiple
// goroutines.
type Mapper struct {
	cfg     Config
	ctx     context.Context //nolint:containedctx // ends with Close, bounds the work of the goroutine
	cancel  context.CancelFunc
	closing chan context.Context // what Close was called with
	kick    chan struct{}        // the network has changed
	done    chan struct{}        // closed when the goroutine is gone
	leases  []*lease             // of the goroutine

	mu     sync.Mutex
	stop   context.CancelFunc // interrupts the attempt under way
	addrs  []netip.AddrPort
	status []Status
}

// New starts a Mapper.
func New(c Config) *Mapper {
	if c.Network == nil {
		c.Network = system{}
	}
	if c.Gateway == nil {
		c.Gateway = SystemGateway
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.protocols == nil {
		c.protocols = []Protocol{PCP, NATPMP, UPnP}
	}
	m := &Mapper{
		cfg:     c,
		closing: make(chan context.Context, 1),
		kick:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		stop:    func() {},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	now := time.Now()
	for _, local := range []netip.AddrPort{c.V4, c.V6} {
		if local.IsValid() && local.Port() != 0 {
			local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
			m.leases = append(m.leases, &lease{local: local, v6: local.Addr().Is6(), next: now})
		}
	}
	m.publish(false)
	go m.run()
	return m
}

// Addrs returns the addresses outside that lead to the sockets, all of them public.
func (m *Mapper) Addrs() []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.addrs)
}

// Status tells of every socket that was to be mapped.
func (m *Mapper) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.status)
}

// NetworkChanged says that addresses, routes or links have changed: what was known of routers is forgotten, and the search
// starts again, at most once a second. It does not block.
func (m *Mapper) NetworkChanged() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
	m.mu.Lock()
	stop := m.stop
	m.mu.Unlock()
	stop()
}

// Close takes the mappings back and ends the Mapper. It waits for the router until ctx ends, and a second at most; what the
// router then still has ends with its time. With a ctx that has ended it still tells the router, but by UPnP. There is no
// goroutine left when it returns.
func (m *Mapper) Close(ctx context.Context) {
	select {
	case m.closing <- ctx:
	default: // somebody else is closing it
	}
	m.cancel()
	<-m.done
}

// run is the goroutine.
func (m *Mapper) run() {
	defer close(m.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.ctx.Done():
			m.end(<-m.closing)
			return
		case <-m.kick:
			for _, l := range m.leases {
				l.forget(time.Now())
			}
		case <-timer.C:
		}
		timer.Reset(max(0, m.attend()))
	}
}

// attend does what is due and returns how long to sleep then.
func (m *Mapper) attend() time.Duration {
	ctx, stop := context.WithCancel(m.ctx)
	defer stop()
	m.mu.Lock()
	m.stop = stop
	m.mu.Unlock()
	wait := MaxLease
	for _, l := range m.leases {
		if len(m.kick) == 0 && ctx.Err() == nil && !time.Now().Before(l.next) {
			m.attempt(ctx, l)
			m.publish(true)
		}
	}
	for _, l := range m.leases {
		wait = min(wait, time.Until(l.next))
	}
	return wait
}

// publish makes the state of the leases known.
func (m *Mapper) publish(tell bool) {
	var addrs []netip.AddrPort
	var status []Status
	for _, l := range m.leases {
		s := Status{V6: l.v6, Gateway: l.gw, Err: l.err}
		if g := l.grant; g != nil {
			s.Protocol, s.External, s.Expires = g.protocol, g.external, g.expires
			addrs = append(addrs, g.external)
		}
		status = append(status, s)
	}
	m.mu.Lock()
	changed := !slices.Equal(addrs, m.addrs)
	m.addrs, m.status = addrs, status
	m.mu.Unlock()
	if changed && tell && m.cfg.Changed != nil {
		m.cfg.Changed()
	}
}

// system is the operating system's network.
type system struct{}

func (system) ListenPacket(ctx context.Context, network string, addr netip.AddrPort) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket(ctx, network, addr.String())
}

func (system) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}
