// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
)

const (
	minPause  = time.Second // between attempts to reach a peer
	maxPause  = 30 * time.Second
	goodWhile = 10 * time.Second // a session that held so long is worth dialling again at once
)

// add makes a contact of a peer and sees to it that there is a session as often as possible.
func (c *chat) add(t peer.Target) error {
	if t.ID == c.ep.ID() {
		return errors.New("that is you")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ct, err := c.contact(t.ID)
	if err != nil {
		return err
	}
	ct.added = true
	if len(t.Addrs) > 0 {
		ct.addrs = t.Addrs
	}
	if ct.keeping || c.quitting {
		return nil
	}
	ct.keeping = true
	if ct.link == nil {
		c.set(ct, dialling, nil)
	}
	c.wg.Go(func() { c.keep(ct) })
	return nil
}

// keep dials until there is a session, waits for its end, and starts over, until the chat ends or there is no point in
// trying again.
func (c *chat) keep(ct *contact) {
	var b backoff
	var told string
	for c.ctx.Err() == nil {
		l, err := c.reach(ct)
		if err == nil {
			told = ""
			select {
			case <-l.done:
			case <-c.ctx.Done():
				return
			}
			err = l.s.Err()
			if time.Since(l.since) >= goodWhile {
				b = backoff{}
			}
		} else if why := err.Error(); why != told && c.ctx.Err() == nil { // once, not at every attempt
			told = why
			c.out.alarm("unreachable %s: %v", c.idText(ct.id), err)
		}
		if final(err) {
			c.giveUp(ct, err)
			return
		}
		if b.attempts == 0 && l != nil {
			b.attempts++
			continue
		}
		c.pause(ct, b.next(), err)
	}
}

// final reports whether trying again would not help.
func final(err error) bool {
	return errors.Is(err, peer.ErrRefused) || errors.Is(err, peer.ErrIdentity)
}

// reach returns the session with ct that there is, or dials.
func (c *chat) reach(ct *contact) (*link, error) {
	c.mu.Lock()
	l, t := ct.link, peer.Target{ID: ct.id, Addrs: ct.addrs}
	if l == nil {
		c.set(ct, dialling, nil)
	}
	c.mu.Unlock()
	if l != nil {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, dialTime)
	defer cancel()
	s, err := c.ep.DialTarget(ctx, t)
	if err != nil {
		return nil, err
	}
	return c.attach(s), nil
}

// pause waits until it is time to dial again or the peer has come by itself.
func (c *chat) pause(ct *contact, d time.Duration, why error) {
	c.mu.Lock()
	if ct.link != nil {
		c.mu.Unlock()
		return
	}
	select {
	case <-ct.woken: // by a session that is over
	default:
	}
	c.set(ct, waiting, why)
	c.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ct.woken:
	case <-c.ctx.Done():
	}
}

// giveUp lets a contact be that does not want us. The user may add it again.
func (c *chat) giveUp(ct *contact, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ct.keeping = false
	if ct.link == nil {
		c.set(ct, refused, why)
	}
}

// A backoff spaces attempts: twice as far each time, with full jitter above the minimum so that many peers that lost the
// same server do not come back at the same time.
type backoff struct{ attempts int }

func (b *backoff) next() time.Duration {
	limit := min(minPause<<min(b.attempts, 10), maxPause)
	b.attempts++
	return minPause/2 + rand.N(limit)
}
