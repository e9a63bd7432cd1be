// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"net"
	"sync"
	"time"
)

// pollEvery is how often a network that does not report its changes is read.
const pollEvery = 5 * time.Second

// A poll is a source that knows nothing but to look again.
type poll struct {
	every time.Duration
	list  func() (State, error)
	done  chan struct{}
	once  sync.Once
}

func newPoll(every time.Duration, list func() (State, error)) *poll {
	return &poll{every: every, list: list, done: make(chan struct{})}
}

func (p *poll) next() error {
	t := time.NewTimer(p.every)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.done:
		return net.ErrClosed
	}
}

func (p *poll) drain(time.Duration) error { return nil }

func (p *poll) read() (State, error) { return p.list() }

func (p *poll) close() { p.once.Do(func() { close(p.done) }) }
