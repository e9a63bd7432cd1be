// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package udp

import (
	"sync"
	"time"
)

// A deadline is a point in time that can be moved and waited for, as net.Conn needs it. It must be made by
// newDeadline.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	ch    chan struct{} // closed when the deadline has passed
}

func newDeadline() *deadline { return &deadline{ch: make(chan struct{})} }

// set moves the deadline; the zero time means never. It wakes those who wait if t has passed.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.ch // the timer has fired: wait until it has closed the channel
	}
	d.timer = nil
	closed := false
	select {
	case <-d.ch:
		closed = true
	default:
	}
	switch left := time.Until(t); {
	case t.IsZero():
		if closed {
			d.ch = make(chan struct{})
		}
	case left <= 0:
		if !closed {
			close(d.ch)
		}
	default:
		if closed {
			d.ch = make(chan struct{})
		}
		ch := d.ch
		d.timer = time.AfterFunc(left, func() { close(ch) })
	}
}

// passed returns a channel that is closed once the deadline as set now has passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ch
}
