// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"sync"
	"time"
)

// Time-critical data from one peer competes at the receiver's downlink with what other peers send, who cannot see it.
// So the receiver asks them to leave room, as RFC 7016 §2.2.4 has it with its time-critical reverse bit.
const (
	yieldTime  = 800 * time.Millisecond // for how long a YIELD counts; docs/PROTOCOL.md §9
	yieldEvery = yieldTime / 2          // how often it is repeated
	yieldLeast = 8 << 10                // bytes a peer must have sent meanwhile to be worth asking
)

// criticalSessions knows the two sessions of an endpoint that received time-critical data last. Two suffice to tell
// any session whether another one has.
type criticalSessions struct {
	mu            sync.Mutex
	newest, other criticalSession
}

type criticalSession struct {
	s  *Session
	at time.Time
}

// note records that s received time-critical data at the given time.
func (c *criticalSessions) note(s *Session, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest.s != s {
		c.other = c.newest
	}
	c.newest = criticalSession{s, at}
}

// besides reports whether a session other than s has received time-critical data lately.
func (c *criticalSessions) besides(s *Session, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.newest
	if e.s == s {
		e = c.other
	}
	return e.s != nil && now.Sub(e.at) < yieldTime
}

// forget lets go of a session that is over.
func (c *criticalSessions) forget(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest.s == s {
		c.newest, c.other = c.other, criticalSession{}
	}
	if c.other.s == s {
		c.other = criticalSession{}
	}
}

// A yielder is a session's part in it. It belongs to the loop.
type yielder struct {
	noted    time.Time // time-critical data the endpoint knows of
	at       time.Time // when to look next whether the peer should be asked
	received uint64    // bytes received when it was last looked
	due      bool      // the next packet asks
}

// pollYield decides, every now and then, whether to ask the peer to yield.
func (s *Session) pollYield(now time.Time) {
	if _, t := s.mux.TimeCritical(); t.Sub(s.yield.noted) >= yieldTime/8 {
		s.yield.noted = t
		s.e.critical.note(s, t)
	}
	if now.Before(s.yield.at) {
		return
	}
	s.yield.at = now.Add(yieldEvery)
	s.yield.due = s.counts.bytesReceived-s.yield.received > yieldLeast && s.e.critical.besides(s, now)
	s.yield.received = s.counts.bytesReceived
}
