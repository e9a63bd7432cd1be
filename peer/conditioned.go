// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/condition"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A conditioned is an endpoint's share of a [Conditioner]: a bad link in each direction. A nil one does nothing.
type conditioned struct {
	e    *Endpoint
	of   *Conditioner
	wake chan struct{}  // capacity 1
	bad  [2]atomic.Bool // there are conditions

	mu      sync.Mutex
	links   [2]condition.Link[label]
	busy    [2]bool // somebody hands on what is due, one at a time so that it stays in order
	running bool    // a goroutine hands on what is held
	closed  bool
}

// handedOn is how many packets one who sends or receives hands on, perhaps others' too, before the goroutine takes over.
const handedOn = 64

// A label goes with a datagram through a link.
type label struct {
	addr netip.AddrPort // the other end
	mark wire.ECN
}

func newConditioned(e *Endpoint, of *Conditioner) *conditioned {
	if of == nil {
		return nil
	}
	c := &conditioned{e: e, of: of, wake: make(chan struct{}, 1)}
	of.join(c)
	return c
}

func (c *conditioned) set(d direction, s Conditions) {
	settings := condition.Settings(s)
	c.mu.Lock()
	c.links[d].Set(time.Now(), settings)
	c.bad[d].Store(!settings.IsZero())
	c.mu.Unlock()
	c.rouse()
}

func (c *conditioned) stats() [2]condition.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return [2]condition.Stats{c.links[sending].Stats(), c.links[receiving].Stats()}
}

// rouse makes the goroutine, if there is one, look again when the next packet is due.
func (c *conditioned) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take takes datagrams over, of segment bytes each but for the last, unless there are no conditions. b is copied.
//
// What is due at once is handed on by the caller, so that conditions without delay cost no goroutine, unless the goroutine
// or another caller is about to: who does takes along what comes meanwhile.
func (c *conditioned) take(d direction, b []byte, segment int, addr netip.AddrPort, mark wire.ECN) bool {
	if c == nil || !c.bad[d].Load() || len(b) == 0 {
		return false
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return true
	}
	for l := &c.links[d]; len(b) > 0; {
		n := min(segment, len(b))
		l.Push(now, b[:n], label{addr, mark})
		b = b[n:]
	}
	switch {
	case c.busy[d]:
	case c.running:
		c.rouse()
	default:
		c.handOn(d)
		if c.closed || c.links[d].Next().IsZero() {
			break
		}
		if c.running { // since then
			c.rouse()
			break
		}
		c.running = true
		c.e.wg.Go(c.run)
	}
	return true
}

// handOn passes on what is due in one direction, or some of it if it is much. It is called with c.mu locked, and unlocks
// it for each packet.
func (c *conditioned) handOn(d direction) {
	c.busy[d] = true
	l := &c.links[d]
	for range handedOn {
		b, to, ok := l.Pop(time.Now())
		if !ok {
			break
		}
		c.mu.Unlock()
		if d == receiving {
			c.e.handleSingle(b, to.addr, to.mark)
		} else if s := c.e.socketFor(to.addr.Addr()); s != nil {
			_, _ = s.conn.WriteBatch(b, len(b), to.addr, to.mark) // who sent it is gone; for him it is a lost packet
		}
		c.mu.Lock()
		l.Release(b)
	}
	c.busy[d] = false
}

// run hands on what is held, and ends when nothing is but what others hand on.
func (c *conditioned) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var next time.Time // when there is something to hand on; zero: nothing is held
		c.mu.Lock()
		for d := range c.links {
			if !c.busy[d] {
				c.handOn(direction(d))
				next = earliest(next, c.links[d].Next())
			}
		}
		if next.IsZero() || c.closed {
			c.running = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		timer.Reset(time.Until(next))
		select {
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// close throws away what is held. The sockets are still open, but nobody waits for anything.
func (c *conditioned) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.closed = true
	c.links[sending].Discard()
	c.links[receiving].Discard()
	c.mu.Unlock()
	c.rouse()
	c.of.leave(c)
}
