// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// write sends what there is to send until the connection ends, and returns why it did.
func (c *conn) write() error {
	s := c.srv
	ping, pings := ticker(s.config.PingInterval)
	renew, renewals := ticker(s.renewal())
	defer ping.Stop()
	defer renew.Stop()
	missed := 0
	for id := uint64(1); ; {
		if done, err := c.flush(); done || err != nil {
			return err
		}
		select {
		case <-c.wake:
		case <-pings:
			ping.Reset(jitter(s.config.PingInterval))
			missed++
			if c.heard.Swap(false) {
				missed = 0
			}
			if missed >= 2 {
				s.counters.silent.Add(1)
				return errSilent
			}
			if c.sess.stalled(time.Now()) {
				c.slow()
				continue
			}
			if err := c.send(&rvproto.Frame{Type: rvproto.TypePing, ID: id}); err != nil {
				return err
			}
			id++
		case now := <-renewals:
			renew.Reset(jitter(s.renewal()))
			if err := c.send(&rvproto.Frame{Type: rvproto.TypeServices, Services: s.services(c.id, now)}); err != nil {
				return err
			}
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
	}
}

// flush writes what is queued, responses first. It reports whether the connection is closed.
func (c *conn) flush() (done bool, err error) {
	for {
		f, end := c.next()
		switch {
		case f != nil:
			if err := c.send(f); err != nil {
				return false, err
			}
			continue
		case end != nil:
			c.closeWith(end.code, end.reason)
			return true, nil
		}
		d, ok := c.sess.next(c)
		if !ok {
			return false, nil
		}
		if err := c.send(&rvproto.Frame{
			Type:    rvproto.TypeDeliver,
			Seq:     d.seq,
			From:    d.from.String(),
			Payload: d.payload,
		}); err != nil {
			return false, err
		}
	}
}

// next returns the first control frame, or how to end if there is none left.
func (c *conn) next() (*rvproto.Frame, *ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.control) == 0 {
		return nil, c.end
	}
	f := c.control[0]
	c.control = c.control[1:]
	return f, nil
}

// shut closes the connection when what is queued has been written, with last, if any, as the last frame. It does not
// block. Only the first call counts, which it reports.
func (c *conn) shut(code websocket.StatusCode, reason string, last *rvproto.Frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		return false
	}
	c.end = &ending{code, reason}
	if last != nil {
		c.control = append(c.control, last)
	}
	c.wakeWriter()
	return true
}

// slow gives a client up that does not take what is sent to it. If the writer is stuck the client will not see why, but
// then the time for one write ends the connection.
func (c *conn) slow() {
	if c.shut(rvproto.CloseSlow, rvproto.CodeSlow, errorFrame(rvproto.CodeSlow, "envelopes are not taken in time")) {
		c.countSlow()
	}
}

// countSlow counts the connection as slow, once.
func (c *conn) countSlow() {
	if c.counted.CompareAndSwap(false, true) {
		c.srv.counters.slow.Add(1)
	}
}

// ticker is a timer for the first tick, and its channel; nil for no ticks.
func ticker(d time.Duration) (*time.Timer, <-chan time.Time) {
	if d <= 0 {
		t := time.NewTimer(0)
		t.Stop()
		return t, nil
	}
	t := time.NewTimer(jitter(d))
	return t, t.C
}

// jitter is d ±20 %.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}
