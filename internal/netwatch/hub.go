// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A source is a way to learn of the network. Its methods are called by one goroutine at a time, except for close, which
// makes next return an error.
type source interface {
	// next blocks until something may have changed.
	next() error
	// drain takes in, for the time d, what changes with it, so that what comes in one go is one change.
	drain(d time.Duration) error
	// read returns the state as it is now, in order.
	read() (State, error)
	close()
}

// A hub reads one source for all watchers of it.
type hub struct {
	key    string
	ctx    context.Context //nolint:containedctx // done when the last watcher has left
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex // guards the following
	watchers map[*Watcher]struct{}
	state    State
	src      source // replaced by the hub's goroutine only
}

// shared are the hubs of this process: one, but for programs that live in several network namespaces.
var shared hubs

type hubs struct {
	mu   sync.Mutex
	hubs map[string]*hub
}

// join returns a new watcher of the hub with the key, which is made if there is none.
func (s *hubs) join(key string, log *slog.Logger, open func() (source, error)) *Watcher {
	w := &Watcher{log: log, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hubs[key]; h != nil {
		w.hub = h
		h.mu.Lock()
		h.watchers[w] = struct{}{}
		h.mu.Unlock()
		return w
	}
	if s.hubs == nil {
		s.hubs = make(map[string]*hub)
	}
	h := &hub{key: key, done: make(chan struct{}), watchers: map[*Watcher]struct{}{w: {}}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	w.hub = h
	s.hubs[key] = h
	h.start(open, list)
	return w
}

// leave takes w off its hub, and ends the hub when it was the last.
func (s *hubs) leave(w *Watcher) {
	h := w.hub
	s.mu.Lock()
	defer s.mu.Unlock()
	h.mu.Lock()
	delete(h.watchers, w)
	last := len(h.watchers) == 0
	src := h.src
	if last {
		h.cancel()
	}
	h.mu.Unlock()
	if !last {
		return
	}
	delete(s.hubs, h.key)
	if src != nil {
		src.close()
	}
	<-h.done
}

// start opens the best source that works and follows it.
func (h *hub) start(open func() (source, error), list func() (State, error)) {
	src, err := open()
	if err == nil {
		h.state, err = src.read()
		if err != nil {
			src.close()
		}
	}
	if err != nil {
		h.warn("changes are not reported by the system: looking from time to time", err)
		src = newPoll(pollEvery, list)
		if h.state, err = src.read(); err != nil {
			h.warn("the system does not tell its addresses: changes go unnoticed", err)
			src.close()
			close(h.done)
			return
		}
	}
	h.src = src
	go h.run()
}

// How long to wait for more when something was reported: longer when there is much and nothing matters.
const (
	minSettle = 5 * time.Millisecond
	maxSettle = 200 * time.Millisecond
	calm      = time.Second // without a report; then it is the short time again
)

// run follows the source until the hub ends.
func (h *hub) run() {
	defer close(h.done)
	settle := minSettle
	unread := false // said so
	for {
		start := time.Now()
		err := h.src.next()
		if time.Since(start) >= calm {
			settle = minSettle
		}
		if err == nil {
			err = h.src.drain(settle)
		}
		if err != nil && !h.replace(err) {
			return
		}
		state, err := h.src.read()
		switch {
		case h.ctx.Err() != nil:
			return
		case err != nil:
			if !unread {
				unread = true
				h.warn("it cannot be read", err)
			}
			settle = maxSettle
			continue
		}
		unread = false
		if h.update(state) {
			settle = minSettle
		} else {
			settle = min(2*settle, maxSettle)
		}
	}
}

// replace puts polling in the place of a source that has failed. It reports false if the hub has ended.
func (h *hub) replace(err error) bool {
	h.mu.Lock()
	if h.ctx.Err() != nil {
		h.mu.Unlock()
		return false
	}
	old := h.src
	h.src = newPoll(pollEvery, list)
	h.mu.Unlock()
	old.close()
	h.warn("the system has stopped reporting changes: looking from time to time", err)
	return true
}

// update makes state the current one and reports whether it differs in what matters.
func (h *hub) update(state State) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	why := h.state.Diff(state)
	h.state = state
	if why == "" {
		return false
	}
	for w := range h.watchers {
		w.changed(why)
	}
	return true
}

// warn tells every watcher's log.
func (h *hub) warn(what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.log.Warn("network watched poorly", slog.String("how", what), slog.Any("err", err))
	}
}
