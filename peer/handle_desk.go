// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// A callDesk admits the calls of an endpoint's peers.
type callDesk struct {
	handlers handlers

	slots     chan struct{} // holds a token for each handler that runs
	most      int           // calls admitted at a time: those that run and those that wait
	mostEach  int           // of one session
	slotEach  int           // handlers that run for one session
	mostLong  int           // of streaming calls, which may last
	mostBytes int           // of requests that wait for a handler; of one session a quarter

	mu         sync.Mutex
	admitted   int
	long       int           // streaming calls whose handler has not returned
	running    int           // goroutines
	idle       chan struct{} // closed when running is zero; nil if nobody waits for that
	refused    uint64
	waiting    int       // bytes of requests that wait for a handler
	unfinished list.List // of *served whose request has not arrived whole, the oldest first
}

// sessionCalls are the calls of the peer of one session.
type sessionCalls struct {
	handlers handlers
	slots    chan struct{} // see callDesk.slots; made by the first call, under callDesk.mu

	// Protected by callDesk.mu.
	admitted int
	long     int // of them, streaming calls whose handler has not returned
	waiting  int // bytes of requests that wait for a handler
	owed     int // bytes of large answers on their way
}

func (d *callDesk) init(c *Config) {
	d.slots = make(chan struct{}, c.MaxConcurrentCalls)
	d.slotEach = min(c.MaxSessionCalls, c.MaxConcurrentCalls)
	d.most = c.MaxConcurrentCalls + c.MaxQueuedCalls
	d.mostEach = d.slotEach + (c.MaxQueuedCalls+3)/4
	d.mostLong = c.MaxConcurrentCalls - c.MaxConcurrentCalls/8
	d.mostBytes = c.MaxQueuedBytes
}

// admit takes in a call, or reports false if there are too many. If the call that has waited longest for its request has
// had to make room, it is returned, and must be told.
//
// A streaming call lasts as long as the caller likes. No session gets more than one of them if it has a quarter as many
// as there are places left: so it takes dozens of sessions to leave none.
func (d *callDesk) admit(c *served, long bool) (ok bool, evicted *served) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sc := &c.s.calls
	left := d.mostLong - d.long
	if long && (left == 0 || sc.long >= d.slotEach || sc.long > 0 && sc.long >= left/4) {
		d.refused++
		return false, nil
	}
	if sc.admitted < d.mostEach && d.admitted >= d.most {
		evicted = d.evict()
	}
	if d.admitted >= d.most || sc.admitted >= d.mostEach {
		d.refused++
		return false, nil
	}
	d.admitted++
	d.running++
	sc.admitted++
	if long {
		c.long = true
		d.long++
		sc.long++
	}
	if sc.slots == nil {
		sc.slots = make(chan struct{}, d.slotEach)
	}
	return true, evicted
}

// evict takes its place from a call whose request has been arriving for longer than others need wait.
func (d *callDesk) evict() *served {
	oldest := d.unfinished.Front()
	if oldest == nil {
		return nil
	}
	c := oldest.Value.(*served) //nolint:forcetypeassert // nothing else is in the list
	if time.Since(c.arrived) < patience {
		return nil
	}
	d.unfinished.Remove(oldest)
	c.unfinished, c.evicted = nil, true
	d.admitted--
	c.s.calls.admitted--
	d.refused++
	return c
}

// await notes that the request of a call has not arrived whole.
func (d *callDesk) await(c *served) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.arrived = time.Now()
	c.unfinished = d.unfinished.PushBack(c)
}

// came notes that it has, or will not any more. It reports false if the call has been evicted.
func (d *callDesk) came(c *served) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.unfinished != nil {
		d.unfinished.Remove(c.unfinished)
		c.unfinished = nil
	}
	return !c.evicted
}

// hold accounts for a request of n bytes that waits for a handler, or reports false if there are too many bytes. One
// always may.
func (d *callDesk) hold(sc *sessionCalls, n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting > 0 && d.waiting+n > d.mostBytes || sc.waiting > 0 && sc.waiting+n > d.mostBytes/4 {
		d.refused++
		return false
	}
	d.waiting += n
	sc.waiting += n
	return true
}

func (d *callDesk) unhold(sc *sessionCalls, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting -= n
	sc.waiting -= n
}

// owe accounts for n more bytes of answers on their way, and reports whether there are too many.
func (d *callDesk) owe(sc *sessionCalls, n int) (much bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sc.owed += n
	return sc.owed > maxOwed
}

// returned says that the handler of a call will not run any more.
func (d *callDesk) returned(c *served) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.long {
		c.long = false
		d.long--
		c.s.calls.long--
	}
}

// leave says that the goroutine of a call ends.
func (d *callDesk) leave(c *served) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !c.evicted {
		d.admitted--
		c.s.calls.admitted--
	}
	if d.running--; d.running == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

// wait waits until no call is left, or ctx ends. No more must be admitted meanwhile.
func (d *callDesk) wait(ctx context.Context) {
	d.mu.Lock()
	if d.running == 0 {
		d.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	d.idle = idle
	d.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func (d *callDesk) stats() (admitted int, refused uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.admitted, d.refused
}
