// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package pace

import "time"

// A Pace lets some events through at once and then one each every. The zero Pace has let nothing through yet. Which rate
// it holds, its caller says each time. It is not safe for concurrent use.
type Pace struct {
	next time.Time // theoretical arrival time of the next event
}

// Due is when the next event may be: not before now, and now if fewer than burst are still to be paid for.
func (p *Pace) Due(now time.Time, every time.Duration, burst int) time.Time {
	if at := p.next.Add(-time.Duration(burst-1) * every); at.After(now) {
		return at
	}
	return now
}

// Take counts one event, which is now.
func (p *Pace) Take(now time.Time, every time.Duration) {
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(every)
}

// Allow reports whether an event is due, and if so takes it.
func (p *Pace) Allow(now time.Time, every time.Duration, burst int) bool {
	if p.Due(now, every, burst).After(now) {
		return false
	}
	p.Take(now, every)
	return true
}
