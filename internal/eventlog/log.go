// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// flushEvery is for how long events are collected before they are written.
	flushEvery = 100 * time.Millisecond

	// grace is how much longer than its context Close waits for writers: what is left to write takes a moment.
	grace = time.Second

	// maxHeld bounds what waits to be written of all sessions together, in bytes.
	maxHeld = 16 << 20
)

// A Log writes the logs of any number of sessions with one goroutine. A nil Log writes none.
type Log struct {
	warn func(error)
	held atomic.Int64 // bytes in the buffers of traces

	mu     sync.Mutex
	dirty  []*Trace
	closed bool

	wake  chan struct{} // capacity 1: dirty is no longer empty
	rush  chan struct{} // capacity 1: there is little room left
	done  chan struct{} // closed by Close
	ended chan struct{} // closed when the goroutine has ended
}

// New starts a Log. warn is told of writers that fail, once each, by the goroutine of the Log; it may be nil.
func New(warn func(error)) *Log {
	if warn == nil {
		warn = func(error) {}
	}
	l := &Log{
		warn: warn,
		wake: make(chan struct{}, 1), rush: make(chan struct{}, 1),
		done: make(chan struct{}), ended: make(chan struct{}),
	}
	go l.run()
	return l
}

// room reports whether traces may hold more.
func (l *Log) room() bool { return l.held.Load() < maxHeld }

func (l *Log) hurry() { signal(l.rush) }

func (l *Log) enqueue(t *Trace) {
	l.mu.Lock()
	l.dirty = append(l.dirty, t)
	l.mu.Unlock()
	signal(l.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (l *Log) run() {
	defer close(l.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-l.wake:
		case <-l.done:
			l.flush()
			return
		}
		timer.Reset(flushEvery)
		select {
		case <-timer.C:
		case <-l.rush:
		case <-l.done:
		}
		l.flush()
	}
}

func (l *Log) flush() {
	l.mu.Lock()
	dirty := l.dirty
	l.dirty = nil
	l.mu.Unlock()
	for _, t := range dirty {
		t.write()
	}
}

// Close writes what the traces hold, which must all have been closed, and ends. It waits for writers until ctx ends, and
// a second more; those that are busy even then go on, and end the goroutine of the Log when they are through.
func (l *Log) Close(ctx context.Context) {
	if l == nil {
		return
	}
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.done)
	}
	select {
	case <-l.ended:
		return
	case <-ctx.Done():
	}
	select {
	case <-l.ended:
	case <-time.After(grace):
	}
}
