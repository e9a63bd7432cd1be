// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/seed-98f0d4c2/runnel/internal/eventlog"
	"github.com/seed-98f0d4c2/runnel/internal/netwatch"
	"github.com/seed-98f0d4c2/runnel/internal/pace"
	"github.com/seed-98f0d4c2/runnel/internal/pionx/icex"
	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// ID names a peer: it is the peer's Ed25519 public key.
type ID = signaling.PeerID

// An Endpoint is a local peer: an identity, one UDP socket for each address family, and the sessions that use them.
// Its methods may be called from multiple goroutines.
type Endpoint struct {
	cfg      *Config
	id       ID
	instance [16]byte // tells a restarted peer from a living one
	log      *slog.Logger
	born     time.Time
	clock    *sleepClock
	battery  atomic.Bool // see SetBattery

	socks   []*socket // immutable after Listen
	mux     *icex.Mux
	names   names
	stun    *reflexive
	ground  ground
	view    hostView
	relays  *relays
	portmap *portMapping  // nil if the network's router is not asked
	lan     *lan          // nil without Config.LAN
	direct  *gate         // answers peers that dial our address with no rendezvous
	cond    *conditioned  // nil without Config.Conditioner
	events  *eventlog.Log // nil without Config.EventLog

	ctx    context.Context //nolint:containedctx // ends with the endpoint, bounds its background work
	cancel context.CancelFunc
	wg     sync.WaitGroup // everything the endpoint started
	shut   chan struct{}  // closed when Close is through

	patience context.Context    //nolint:containedctx // of all who call Close: it ends when one of them has none left
	hasten   context.CancelFunc // ends it

	listeners listeners
	calls     callDesk

	replay   signaling.ReplayGuard
	replayMu sync.Mutex

	mu       sync.Mutex
	closed   bool
	accepts  []*Session             // established, not yet accepted
	accepted chan struct{}          // closed, and replaced, when there are more
	lastTime time.Time              // of the latest signaling message made
	gone     pace.Pace              // of answers that a session is
	deciding map[ID]*decision       // offers that Config.Authorize is asked about
	next     map[ID]*Session        // being established in place of the session in peers
	peers    map[ID]*Session        // the session of each peer, being established or live
	sessions map[*Session]struct{}  // all that have a loop, superseded and closing ones too
	attempts map[attemptID]*Session // whom an answer or a candidate belongs to
	early    earlySignals           // candidates that came before their session
	inbound  int                    // sessions being established by peers
	routes   sync.Map               // wire.SessionID → *Session
	extras   sync.Map               // via → *extraSocket
	queued   atomic.Int64           // bytes of memory in the inboxes of sessions
	dropped  [numDropReasons]atomic.Uint64
	critical criticalSessions

	lastExtra  atomic.Int32 // via of the newest extra socket
	extraCount atomic.Int32
	punching   atomic.Int32  // sessions that try to get through a hard NAT
	probes     *rate.Limiter // what they all send to addresses that peers have named
}

// A dropReason says why a datagram went no further than the endpoint.
type dropReason int

const (
	dropUnknownClass dropReason = iota
	dropBadSTUN
	dropForeignSTUN
	dropMalformed
	dropNoSession
	dropQueueFull
	dropBadSignal
	dropTooMany
	numDropReasons
)

func (e *Endpoint) drop(r dropReason) { e.dropped[r].Add(1) }

// Listen starts an endpoint. ctx bounds only the start. A nil c means the zero Config.
func Listen(ctx context.Context, c *Config) (*Endpoint, error) {
	cfg, err := c.clone()
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		cfg:      cfg,
		id:       signaling.IDFromKey(cfg.Key),
		born:     time.Now(),
		accepted: make(chan struct{}),
		shut:     make(chan struct{}),
		deciding: make(map[ID]*decision),
		next:     make(map[ID]*Session),
		peers:    make(map[ID]*Session),
		sessions: make(map[*Session]struct{}),
		attempts: make(map[attemptID]*Session),
	}
	e.clock = newSleepClock(e.born)
	e.battery.Store(cfg.Policy.Battery)
	e.calls.init(cfg)
	e.probes = rate.NewLimiter(probeRate, probeBurst)
	e.log = cfg.Log.With(slog.String("self", e.id.Short()))
	_, _ = rand.Read(e.instance[:])
	e.socks, err = openSockets(ctx, cfg)
	if err != nil {
		return nil, err
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.patience, e.hasten = context.WithCancel(context.Background())
	e.mux = icex.NewMux(e.writeDirect, e.hostAddrs)
	e.ground.kick = make(chan struct{}, 1)
	e.stun = newReflexive(e)
	e.relays = newRelays(e)
	e.direct = newGate(e)
	e.cond = newConditioned(e, cfg.Conditioner)
	if cfg.EventLog != nil {
		e.events = eventlog.New(func(err error) { e.log.Warn("event log failed", slog.Any("err", err)) })
	}
	if _, system := cfg.Network.(udp.OS); system && cfg.NetworkMonitor == nil {
		cfg.NetworkMonitor, _ = netwatch.New(e.log) // the loop closes it
	}
	e.lan = newLAN(e)
	e.portmap = newPortMapping(e)
	for _, s := range e.socks {
		e.wg.Go(func() { e.readLoop(s) })
	}
	e.wg.Go(e.stun.run)
	e.wg.Go(e.groundLoop)
	if cfg.NetworkMonitor != nil {
		e.wg.Go(e.monitorLoop)
	}
	e.wg.Go(e.relays.run)
	if cfg.Signaler != nil {
		e.wg.Go(e.signalLoop)
		e.wg.Go(e.servicesLoop)
	} else {
		e.useServices(signaling.Services{})
	}
	return e, nil
}

// ID returns the endpoint's own identity.
func (e *Endpoint) ID() ID { return e.id }

// LocalAddrs returns the addresses and ports at which this host itself may be dialled, such as by
// [Target].Addrs, one for each local address, as far as strangers may dial them (see [Config].Addresses).
func (e *Endpoint) LocalAddrs() []netip.AddrPort {
	addrs := e.hostAddrs()
	return slices.DeleteFunc(addrs, func(a netip.AddrPort) bool { return !e.dialable(strangers, a) })
}

// Accept waits for the next session that a peer has opened. Sessions that this endpoint dialled are not among
// them. It returns an error that is [net.ErrClosed] when the endpoint is closed.
func (e *Endpoint) Accept(ctx context.Context) (*Session, error) {
	for {
		e.mu.Lock()
		if len(e.accepts) > 0 { // also with a cancelled context
			s := e.accepts[0]
			e.accepts = e.accepts[1:]
			e.mu.Unlock()
			return s, nil
		}
		more := e.accepted
		e.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-e.ctx.Done():
			return nil, errEndpointClosed
		}
	}
}

// offerAccept puts an established session in line for Accept. It reports false if the line is full of living ones,
// unless they have a use without being accepted: then the first leaves the line.
// A session that has ended stays in line, for what it brought may still be read.
func (e *Endpoint) offerAccept(s *Session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.accepts) >= e.cfg.Backlog {
		dead := slices.IndexFunc(e.accepts, func(s *Session) bool { return s.Err() != nil })
		switch {
		case dead >= 0:
			e.accepts = slices.Delete(e.accepts, dead, dead+1)
		case e.listeners.any() || e.calls.handlers.any():
			e.accepts = slices.Delete(e.accepts, 0, 1)
		default:
			return false
		}
	}
	e.accepts = append(e.accepts, s)
	close(e.accepted)
	e.accepted = make(chan struct{})
	return true
}

var errEndpointClosed = &CloseError{Code: CodeShutdown}

// Close closes every session in good order, as [Session.Close] does, until ctx ends, then at once; it releases the
// sockets and the relays and closes the Signaler. Handlers of calls see their context end, and are waited for until
// ctx ends; so are writers of event logs, and a second more. When Close returns, no goroutine of the endpoint is left but
// for handlers and writers that are still busy. Calling it again while it is at work waits for it, and hastens it when
// the later ctx ends. A handler that calls it waits for itself until ctx ends. The error is always nil.
func (e *Endpoint) Close(ctx context.Context) error {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	e.mu.Unlock()
	if ctx.Err() != nil {
		e.hasten()
	}
	defer context.AfterFunc(ctx, e.hasten)()
	if first {
		go e.close(e.patience)
	}
	<-e.shut
	return nil
}

func (e *Endpoint) close(ctx context.Context) {
	defer close(e.shut)
	defer e.hasten()
	var sessions sync.WaitGroup
	e.eachSession(func(s *Session) {
		sessions.Go(func() {
			s.shutdown(ctx)
			<-s.gone
		})
	})
	sessions.Wait()
	e.listeners.close(errEndpointClosed)
	e.calls.wait(ctx)

	e.portmap.close(ctx)
	e.cancel()
	if e.cfg.Signaler != nil {
		_ = e.cfg.Signaler.Close()
	}
	e.relays.close()
	_ = e.mux.Close()
	e.cond.close()
	for _, s := range e.socks {
		_ = s.conn.Close()
	}
	e.wg.Wait()
	e.events.Close(ctx)
}

// stamp returns the time for a signaling message: later than that of every message before, so that the order in
// which an endpoint has made its messages can be told from them. When the clock has been set back it begins anew, for
// peers refuse what is too far in the future.
func (e *Endpoint) stamp(now time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	now = now.Truncate(time.Millisecond)
	if !now.After(e.lastTime) && e.lastTime.Sub(now) < time.Minute {
		now = e.lastTime.Add(time.Millisecond)
	}
	e.lastTime = now
	return now
}

// route returns the session that receives packets under sid.
func (e *Endpoint) route(sid wire.SessionID) *Session {
	if s, ok := e.routes.Load(sid); ok {
		return s.(*Session)
	}
	return nil
}

// claimSID returns a session ID that no other session of this endpoint has, and routes it to s.
func (e *Endpoint) claimSID(s *Session) wire.SessionID {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:])
		sid := wire.SessionID(binary.BigEndian.Uint64(b[:]))
		if _, taken := e.routes.LoadOrStore(sid, s); !taken && sid != 0 {
			return sid
		}
	}
}

// earliest returns the earlier of two times, where zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
