// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"sync"
	"time"
)

// deadline is a moment after which a channel is closed; it can be moved at any time.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{}
}

// reset forgets the deadline. The zero deadline must be reset before use.
func (d *deadline) reset() { d.set(time.Time{}) }

func (d *deadline) channel() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// set moves the deadline to t; the zero time is never. Waiters on an earlier channel see the new deadline too unless
// the old one has passed.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.halt()
	open := d.expired != nil
	if open {
		select {
		case <-d.expired:
			open = false
		default:
		}
	}
	if !open {
		d.expired = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	ch := d.expired
	if wait := time.Until(t); wait > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer { // not moved meanwhile
				d.timer = nil
				close(ch)
			}
		})
		d.timer = timer
		return
	}
	close(ch)
}

// stop ends the timer.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.halt()
}

func (d *deadline) halt() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
