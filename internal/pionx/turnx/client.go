// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun"
	"github.com/pion/transport/v2"
	"github.com/pion/turn/v2"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/stunx"
)

const (
	// closeTimeout bounds how long Close waits for the server to confirm.
	closeTimeout = time.Second
	// streamRTO keeps the library from retransmitting over a reliable stream (RFC 8489 §6.2.2 forbids it): the first
	// retransmission would come after this long.
	streamRTO = 8 * time.Second
	// maxReadErrors ends an allocation whose socket yields nothing but errors.
	maxReadErrors = 64
)

// ClientConfig says where to allocate and as whom.
type ClientConfig struct {
	// Conn carries the messages; Allocate takes it over and closes it when the allocation ends, also when Allocate
	// fails. For TCP and TLS it comes from [NewStreamConn].
	Conn net.PacketConn
	// Server is the address that Conn's packets are sent to and must come from. With a stream any valid address does.
	Server netip.AddrPort
	// Username and Password are long-term credentials (RFC 8489 §9.2).
	Username, Password string
	// Realm is a hint only: the realm in the server's challenge is used.
	Realm string
	// OnPacket receives what peers sent to the relayed address. It is called by one goroutine, that of the reader: b
	// is valid during the call, and while the call lasts nothing else arrives. It must not call Close. nil discards.
	OnPacket func(b []byte, from netip.AddrPort)
	// Log gets few lines, all at debug level. nil discards.
	Log *slog.Logger
}

// An Allocation is a relayed address on a TURN server. Its methods may be called from any goroutine.
type Allocation struct {
	conn     net.PacketConn
	stream   bool
	server   netip.AddrPort
	to       net.Addr // server
	user     string
	password string
	onPacket func([]byte, netip.AddrPort)
	log      *slog.Logger
	client   *turn.Client
	tap      *tap

	relayed, mapped netip.AddrPort // set before Allocate returns

	wg      sync.WaitGroup
	done    chan struct{}
	kick    chan struct{} // wakes the writer, capacity 1
	tick    chan struct{} // wakes the keeper, capacity 1
	stats   counters
	closing sync.Once

	mu       sync.Mutex // taken last: tap.mu may be held, never the other way round
	err      error      // why done is closed
	quiet    bool       // Close was called: no more packets in or out
	conns    net.PacketConn
	perms    map[netip.Addr]*permission
	fresh    []netip.Addr // permissions the writer must ask for, in order
	byPeer   map[netip.AddrPort]*channel
	byNumber map[uint16]*channel
	nextChan uint16
	queue    ring
	expires  time.Time     // of the allocation
	renewed  time.Time     // when the server last confirmed it
	lifetime time.Duration // granted last
}

// Allocate asks the server for a relayed address: two round trips. ctx bounds the asking, not the allocation's life.
// A refusal is a [*CodeError].
func Allocate(ctx context.Context, c *ClientConfig) (*Allocation, error) {
	if c.Conn == nil || !c.Server.IsValid() {
		return nil, errors.New("turnx: Conn and Server are required")
	}
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &Allocation{
		conn: c.Conn, stream: isStream(c.Conn), server: netip.AddrPortFrom(c.Server.Addr().Unmap(), c.Server.Port()),
		user: c.Username, password: c.Password, onPacket: c.OnPacket, log: log,
		done: make(chan struct{}), kick: make(chan struct{}, 1), tick: make(chan struct{}, 1),
		perms: make(map[netip.Addr]*permission), byPeer: make(map[netip.AddrPort]*channel),
		byNumber: make(map[uint16]*channel), nextChan: minChannel,
	}
	a.to = net.UDPAddrFromAddrPort(a.server)
	a.tap = newTap(a)
	rto := time.Duration(0)
	if a.stream {
		rto = streamRTO
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: a.server.String(), Conn: a.tap, Username: c.Username, Password: c.Password, Realm: c.Realm,
		RTO: rto, Net: fixedNet{addr: a.to}, LoggerFactory: libraryLog(log),
	})
	if err != nil {
		c.Conn.Close()
		return nil, fmt.Errorf("turnx: %w", err)
	}
	a.client = client
	a.wg.Go(a.read)

	stop := context.AfterFunc(ctx, func() { a.end(context.Cause(ctx)) })
	conn, err := client.Allocate()
	if err != nil && a.tap.allocateCode() == 437 && a.Err() == nil {
		// An allocation that we have abandoned is in the way: our address is the same after all.
		if a.transact("refresh", stunx.Refresh, nil, noLifetime) == nil {
			conn, err = client.Allocate()
		}
	}
	stop()
	if err != nil {
		return nil, a.fail(a.allocateError(err))
	}
	if err := a.start(conn); err != nil {
		return nil, a.fail(err)
	}
	return a, nil
}

// fail ends an allocation that did not come to be and returns err. The connection is closed when it returns, whoever
// began to close it.
func (a *Allocation) fail(err error) error {
	a.end(err)
	<-a.done
	a.wg.Wait()
	return err
}

// start takes over what the library allocated.
func (a *Allocation) start(conn net.PacketConn) error {
	a.relayed, a.mapped = addrPort(conn.LocalAddr()), a.tap.mappedAddr()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil { // ended between the answer and here
		conn.Close()
		return a.err
	}
	a.conns = conn
	a.wg.Go(a.write)
	a.wg.Go(a.keep)
	return nil
}

// allocateError says in our own terms why the library's Allocate failed.
func (a *Allocation) allocateError(err error) error {
	ended := a.Err()
	switch code := a.tap.allocateCode(); {
	case ended != nil:
		return fmt.Errorf("turnx: allocate: %w", ended)
	case code != 0:
		return &CodeError{"allocate", code}
	default:
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
}

// Relayed returns the address that peers reach this endpoint at.
func (a *Allocation) Relayed() netip.AddrPort { return a.relayed }

// Mapped returns this endpoint's address as the server saw it.
func (a *Allocation) Mapped() netip.AddrPort { return a.mapped }

// Done is closed when the allocation is lost or closed. Nothing is relayed from then on.
func (a *Allocation) Done() <-chan struct{} { return a.done }

// Err says why Done is closed: [ErrClosed], [ErrExpired], [ErrBroken] or a [*CodeError]. It is nil before.
func (a *Allocation) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Close gives the relayed address back. It stops all traffic at once, waits for the server's confirmation but at most
// a second, and leaves no goroutine behind. It must not be called from OnPacket.
func (a *Allocation) Close() error {
	a.closing.Do(func() {
		a.mu.Lock()
		a.quiet = true
		a.mu.Unlock()
		confirmed := make(chan struct{})
		a.wg.Go(func() {
			defer close(confirmed)
			err := a.transact("refresh", stunx.Refresh, nil, noLifetime)
			if err != nil {
				a.log.Debug("relay did not confirm deallocation", slog.Any("err", err))
			}
		})
		timer := time.NewTimer(closeTimeout)
		defer timer.Stop()
		select {
		case <-confirmed:
		case <-timer.C:
		case <-a.done:
		}
		a.end(ErrClosed)
	})
	a.wg.Wait()
	return nil
}

// noLifetime makes a refresh give the allocation back.
func noLifetime(b *stunx.Builder) { b.Add(stunx.Lifetime, make([]byte, 4)) }

// end stops everything. It is never called with a.mu held, nor from inside the library: the library's Close takes the
// lock that it holds while it writes.
func (a *Allocation) end(err error) {
	a.mu.Lock()
	if a.err != nil {
		a.mu.Unlock()
		return
	}
	if a.quiet { // by Close, whatever happened since
		err = ErrClosed
	}
	a.err, a.quiet = err, true
	conns := a.conns
	a.mu.Unlock()

	a.tap.close() // first: a transaction started from now on fails, those before are closed next
	a.client.Close()
	if conns != nil {
		conns.Close() // stops the library's timers; what it wants to send fails
	}
	a.conn.Close()
	close(a.done)
}

// transact performs one authenticated request and waits for the success response, asking again with a new nonce when
// the old one is stale (RFC 8489 §9.2.5). sent, if not nil, is called once, when the first request has left.
func (a *Allocation) transact(op string, m stunx.Method, sent func(), attrs func(*stunx.Builder)) error {
	if sent != nil {
		sent = sync.OnceFunc(sent)
		defer sent()
	}
	for range 3 {
		realm, nonce, key := a.tap.auth()
		tx := stunx.NewTransaction()
		b := stunx.NewBuilder(make([]byte, 0, 512), m, stunx.Request, tx)
		attrs(b)
		b.Add(stunx.UsernameAttr, []byte(a.user)).Add(stunx.Realm, realm).Add(stunx.Nonce, nonce)
		msg := &stun.Message{Raw: b.AddIntegrity(key).AddFingerprint().Bytes()}
		if err := msg.Decode(); err != nil {
			return fmt.Errorf("turnx: %s: %w", op, err)
		}
		a.tap.notify(tx, sent)
		res, err := a.client.PerformTransaction(msg, a.to, false)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrTimeout, op, err)
		}
		if res.Msg.Type.Class == stun.ClassSuccessResponse {
			return nil
		}
		if code := stunx.ErrorOf(res.Msg.Raw); code != 438 && code != 401 {
			err := &CodeError{op, code}
			if code == 437 { // the server has restarted, or our NAT has given us another port: there is no allocation
				a.end(err)
			}
			return err
		}
	}
	return &CodeError{op, 401}
}

// fixedNet resolves every name to the server's address; the library uses its network for nothing else. It spares the
// walk over all interfaces that the default network begins with, and the restriction to IPv4 servers.
type fixedNet struct {
	transport.Net
	addr net.Addr
}

func (n fixedNet) ResolveUDPAddr(string, string) (*net.UDPAddr, error) {
	return n.addr.(*net.UDPAddr), nil
}
