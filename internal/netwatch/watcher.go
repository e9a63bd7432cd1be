// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"context"
	"log/slog"
	"net"
	"sync"
)

// A Watcher tells one listener of changes. Its methods may be called from several goroutines, but each change makes only one
// call of WaitChange return.
type Watcher struct {
	log    *slog.Logger
	hub    *hub
	wake   chan struct{} // has an element when there is a change to tell
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex // guards the following
	pending string     // what has changed and was not told
	told    string     // what was told last
}

// New returns a watcher of the operating system's network. Changes count from now on. A nil log means none. The error is
// always nil in this version: where the system does not let itself be watched it is read from time to time, and where that
// is not permitted either, the log says so and the watcher is silent.
//
// It must be closed. On Linux it watches the network namespace of the calling thread.
func New(log *slog.Logger) (*Watcher, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return shared.join(namespace(), log, open), nil
}

// WaitChange blocks until something that matters has changed since it last returned nil, or since the watcher was made.
// Several changes make it return once. When ctx ends it returns ctx's error, and when the watcher is closed
// [net.ErrClosed].
func (w *Watcher) WaitChange(ctx context.Context) error {
	select { // what is there wins over a context that is done
	case <-w.wake:
		w.tell()
		return nil
	default:
	}
	select {
	case <-w.wake:
		w.tell()
		return nil
	case <-w.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Watcher) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told, w.pending = w.pending, ""
}

// Change says in a sentence, for people, what WaitChange last returned for. It is empty before.
func (w *Watcher) Change() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told
}

// Snapshot returns the state as it was last read. It is empty where the system does not permit reading it. The caller owns
// it.
func (w *Watcher) Snapshot() State {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return w.hub.state.clone()
}

// Close ends the watcher and what waits for it. The last watcher of a process releases what all shared, and waits for its
// goroutine. The error is always nil.
func (w *Watcher) Close() error {
	w.once.Do(func() {
		close(w.closed)
		shared.leave(w)
	})
	return nil
}

// maxPending bounds a sentence that grows because nobody listens.
const maxPending = 500

// changed takes in a change.
func (w *Watcher) changed(why string) {
	w.mu.Lock()
	switch {
	case w.pending == "":
		w.pending = why
	case len(w.pending)+len(why) < maxPending:
		w.pending += "; " + why
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
