// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A lasting is a UDP socket that lasts as long as its endpoint: mobile systems take sockets away when the network goes or
// the app sleeps, and then another one takes its place. The read loop alone sees to that. What is sent meanwhile fails with
// [net.ErrClosed], which counts as a lost packet.
type lasting struct {
	cur atomic.Pointer[udp.Conn] // never nil

	network string         // as it was opened
	want    netip.AddrPort // but for the port, which is that of the first one
	open    opener

	reopened atomic.Uint64
	mu       sync.Mutex
	closed   bool
}

// An opener opens a socket, as [Network].ListenPacket does.
type opener func(ctx context.Context, network string, addr netip.AddrPort) (*udp.Conn, error)

// newLasting opens the first socket, without patience.
func newLasting(ctx context.Context, open opener, network string, addr netip.AddrPort) (*lasting, error) {
	conn, err := open(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l := &lasting{network: network, want: addr, open: open}
	l.cur.Store(conn)
	return l, nil
}

// LocalAddr is that of the present socket, or the last one.
func (l *lasting) LocalAddr() netip.AddrPort { return l.cur.Load().LocalAddr() }

// MaxPayload is [udp.Conn.MaxPayload].
func (l *lasting) MaxPayload(to netip.Addr) int { return l.cur.Load().MaxPayload(to) }

// Expect is [udp.Conn.Expect].
func (l *lasting) Expect() { l.cur.Load().Expect() }

// ReadBatch is [udp.Conn.ReadBatch].
func (l *lasting) ReadBatch(b []byte) (udp.Batch, error) { return l.cur.Load().ReadBatch(b) }

// WriteTo is [udp.Conn.WriteTo].
func (l *lasting) WriteTo(b []byte, to netip.AddrPort) error {
	conn := l.cur.Load()
	err := conn.WriteTo(b, to)
	if err != nil {
		doubt(conn, err)
	}
	return err
}

// WriteBatch is [udp.Conn.WriteBatch].
func (l *lasting) WriteBatch(b []byte, segment int, to netip.AddrPort, mark wire.ECN) (int, error) {
	conn := l.cur.Load()
	n, err := conn.WriteBatch(b, segment, to, mark)
	if err != nil {
		doubt(conn, err)
	}
	return n, err
}

// doubt closes a socket that the system says is none any more, so that the read loop learns of it.
func doubt(conn *udp.Conn, err error) {
	if udp.Dead(err) {
		_ = conn.Close()
	}
}

// Close closes the socket for good.
func (l *lasting) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.cur.Load().Close()
}

// reopen puts a socket in the place of one that has failed: on the same port if it can be had, so that mappings and what
// peers know stay good, and on any other if not. It reports false if the socket was closed for good meanwhile, and an error
// if none can be had now.
func (l *lasting) reopen(ctx context.Context) (bool, error) {
	old := l.cur.Load()
	_ = old.Close()
	conn, err := l.open(ctx, l.network, netip.AddrPortFrom(l.want.Addr(), old.LocalAddr().Port()))
	if err != nil && ctx.Err() == nil {
		conn, err = l.open(ctx, l.network, netip.AddrPortFrom(l.want.Addr(), 0))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed && err == nil:
		_ = conn.Close()
		return false, nil
	case l.closed:
		return false, nil
	case err != nil:
		return true, err
	}
	l.cur.Store(conn)
	l.reopened.Add(1)
	return true, nil
}

const (
	reviveMin = 100 * time.Millisecond // between the first attempts
	reviveMax = 5 * time.Second

	// manyErrors is how many errors in a row, with nothing read between them, pass for what others provoke. After that
	// there is errorPause between two, so that a system that fails in a way we do not know does not keep us busy.
	manyErrors = 100
	errorPause = 10 * time.Millisecond
)

// A nurse looks after one socket; it belongs to the read loop.
type nurse struct {
	e      *Endpoint
	s      *socket
	errors int           // in a row
	pause  time.Duration // before the next attempt at opening a socket
}

// well says that something has been read.
func (n *nurse) well() { n.errors, n.pause = 0, 0 }

// failed handles an error of reading, and reports whether reading may go on. It waits if that is better first.
func (n *nurse) failed(err error) bool {
	e := n.e
	if e.ctx.Err() != nil {
		return false
	}
	if udp.Temporary(err) && !isClosed(err) {
		n.errors++
		return n.errors < manyErrors || e.sleep(errorPause)
	}
	e.log.Warn("socket failed", slog.String("network", n.s.conn.network), slog.Any("err", err))
	for {
		if n.pause > 0 && !e.sleep(n.pause) {
			return false
		}
		n.pause = min(max(2*n.pause, reviveMin), reviveMax)
		before := n.s.conn.LocalAddr()
		alive, err := n.s.conn.reopen(e.ctx)
		switch {
		case !alive || e.ctx.Err() != nil:
			return false
		case err != nil:
			e.log.Warn("socket not reopened", slog.String("network", n.s.conn.network), slog.Any("err", err),
				slog.Duration("retry_in", n.pause))
			continue
		}
		e.log.Info("socket reopened", slog.Any("was", before), slog.Any("is", n.s.conn.LocalAddr()))
		e.socketReopened()
		return true
	}
}

// socketReopened has everything looked after that a socket means something to.
func (e *Endpoint) socketReopened() {
	e.candidatesChanged()
	e.networkChanged("a socket was reopened")
}

// sleep reports whether it slept to the end, which it does unless the endpoint is closed.
func (e *Endpoint) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.ctx.Done():
		return false
	}
}
