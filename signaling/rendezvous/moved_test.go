// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

const oneWay = 20 * time.Millisecond

// A farConn takes oneWay for what is written to arrive, and for what is to be read. When its network is gone, nothing does.
type farConn struct {
	net.Conn
	gone *atomic.Bool
	out  chan timed
	in   chan timed
	rest []byte
	done chan struct{}
	once sync.Once
}

type timed struct {
	at  time.Time
	b   []byte
	err error
}

func far(conn net.Conn, gone *atomic.Bool) net.Conn {
	c := &farConn{Conn: conn, gone: gone, out: make(chan timed, 1000), in: make(chan timed, 1000), done: make(chan struct{})}
	go func() {
		for {
			select {
			case p := <-c.out:
				time.Sleep(time.Until(p.at))
				if !gone.Load() {
					_, _ = conn.Write(p.b)
				}
			case <-c.done:
				return
			}
		}
	}()
	go func() {
		for {
			b := make([]byte, 4096)
			n, err := conn.Read(b)
			select {
			case c.in <- timed{time.Now().Add(oneWay), b[:n], err}:
			case <-c.done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *farConn) Write(b []byte) (int, error) {
	select {
	case c.out <- timed{at: time.Now().Add(oneWay), b: append([]byte(nil), b...)}:
		return len(b), nil
	case <-c.done:
		return 0, net.ErrClosed
	}
}

func (c *farConn) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		select {
		case p := <-c.in:
			time.Sleep(time.Until(p.at))
			if c.gone.Load() {
				continue
			}
			if p.err != nil {
				return 0, p.err
			}
			c.rest = p.b
		case <-c.done:
			return 0, net.ErrClosed
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *farConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}

// A mover is a peer that changes networks: what was connected before stays behind.
type mover struct {
	*peer
	mu    sync.Mutex
	gone  *atomic.Bool // the present network
	dials int
}

func (l *lab) mover() *mover {
	m := &mover{gone: new(atomic.Bool)}
	m.peer = l.enterVia(nil, nil, func(conn net.Conn) net.Conn {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dials++
		return far(conn, m.gone)
	})
	time.Sleep(time.Second)
	if !m.Stats().Connected {
		l.t.Fatalf("not connected: %v", m.Stats().LastErr)
	}
	return m
}

func (m *mover) move() {
	m.mu.Lock()
	m.gone.Store(true)
	m.gone = new(atomic.Bool)
	m.mu.Unlock()
	m.NetworkChanged()
}

// settled waits until the client is registered n times.
func (m *mover) settled(n uint64) time.Duration {
	start := time.Now()
	for m.Stats().Connects < n && time.Since(start) < time.Minute {
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

// After a move the client is registered within three round trips (TCP's and TLS's come on top of them on a real network), and
// nothing that was under way in either direction is lost or comes twice.
func TestMove(t *testing.T) {
	inLab(t, &rendezvous.Config{PingInterval: -1}, func(t *testing.T, l *lab) {
		m, other := l.mover(), l.join(nil, nil)
		const moves, each = 5, 4
		for i := range uint64(moves) {
			var wg sync.WaitGroup
			for j := range each {
				text := []byte(fmt.Sprint(i, " ", j))
				wg.Go(func() {
					if err := other.Send(t.Context(), m.ID(), text); err != nil {
						t.Errorf("to the mover: %v", err)
					}
				})
				wg.Go(func() {
					if err := m.Send(t.Context(), other.ID(), text); err != nil {
						t.Errorf("from the mover: %v", err)
					}
				})
			}
			time.Sleep(oneWay / 2) // all of it is on its way, and will not arrive
			m.move()
			if took := m.settled(i + 2); took > 6*oneWay+2*time.Millisecond {
				t.Errorf("move %d: registered after %v, want 3 round trips of %v", i, took, 2*oneWay)
			}
			wg.Wait()
			time.Sleep(10 * time.Second)
		}
		if s := m.Stats(); s.Connects != moves+1 || s.Resumed != moves {
			t.Errorf("%+v, want one registration for each move, each a resumption", s)
		}
		for _, p := range []interface {
			Recv(ctx context.Context) (signaling.Envelope, error)
		}{m, other} {
			got := make(map[string]int)
			for {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				e, err := p.Recv(ctx)
				cancel()
				if err != nil {
					break
				}
				got[string(e.Payload)]++
			}
			if len(got) != moves*each {
				t.Errorf("%d messages arrived, want %d", len(got), moves*each)
			}
			for text, n := range got {
				if n != 1 {
					t.Errorf("%q arrived %d times", text, n)
				}
			}
		}
	})
}

// A connection that has survived is kept, and many changes cost few attempts.
func TestChangeWithoutMove(t *testing.T) {
	inLab(t, &rendezvous.Config{PingInterval: -1}, func(t *testing.T, l *lab) {
		m := l.mover()
		for range 100 { // two seconds
			m.NetworkChanged()
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if s := m.Stats(); s.Connects != 1 || !s.Connected {
			t.Errorf("%+v, want the connection kept", s)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.dials > 13 {
			t.Errorf("%d connections begun in two seconds, want five in a second at most", m.dials)
		}
		if s := l.srv.Stats(); s.Connections != 1 || s.Registered != 1 {
			t.Errorf("%+v, want nothing left of what was begun", s)
		}
	})
}

// One network goes and the next one comes at once: two changes, and at the first there is no network to connect by. The
// connection that is dead meanwhile is not waited for.
func TestChangeTwiceInAMove(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		m := l.mover()
		l.setDown(true)
		m.move()
		time.Sleep(30 * time.Millisecond)
		l.setDown(false)
		m.NetworkChanged()
		if took := m.settled(2); took > 50*time.Millisecond+6*oneWay {
			t.Errorf("registered after %v, want 3 round trips and 50 ms", took)
		}
	})
}

// When the network is back, nobody waits for the end of a pause.
func TestChangeEndsPause(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		m := l.mover()
		l.setDown(true)
		m.move()
		time.Sleep(10 * time.Minute)
		if m.Stats().Connected {
			t.Fatal("connected without a network")
		}
		l.setDown(false)
		m.NetworkChanged()
		if took := m.settled(2); took > 6*oneWay+2*time.Millisecond {
			t.Errorf("registered after %v, want 3 round trips", took)
		}
	})
}

// An attempt that hangs on a network that is gone is given up for one on the next.
func TestChangeEndsAttempt(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		m := l.mover()
		m.move()
		time.Sleep(oneWay) // in the midst of it
		m.move()
		if took := m.settled(2); took > 2*time.Second+8*oneWay {
			t.Errorf("registered after %v, want a second of patience with each of what hangs: %+v", took, m.Stats())
		}
	})
}

// Close ends a check that goes on.
func TestCloseDuringCheck(t *testing.T) {
	for _, after := range []time.Duration{0, oneWay, 3 * oneWay, 5 * oneWay, time.Second, 2 * time.Second} {
		inLab(t, nil, func(t *testing.T, l *lab) {
			m := l.mover()
			m.move()
			m.NetworkChanged()
			time.Sleep(after)
			start := time.Now()
			m.Close()
			m.NetworkChanged()
			synctest.Wait()
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("Close took %v", took)
			}
		})
	}
}
