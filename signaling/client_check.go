// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

const (
	// checkEvery is the shortest time between two checks: networks change in bursts.
	checkEvery = 200 * time.Millisecond

	// checkAgain is how often, after an attempt has failed, news of the network are looked for, which call for another one.
	checkAgain = 50 * time.Millisecond

	// checkPatience is how long a connection, or an attempt at one, may take to show that it has survived a change.
	checkPatience = time.Second
)

var (
	errMoved      = errors.New("signaling: the network has changed")
	errAlive      = errors.New("signaling: the connection has survived")
	errSuperseded = errors.New("signaling: another connection has taken over")
)

// NetworkChanged says that this host's network is, or may be, another one. The connection is probed, and at the same time a
// new one is made without any pause; whichever shows first that it works is kept, and one that shows nothing within a second
// is given up. What was not acknowledged is sent again, as always. It returns at once, and may be called often: there is one
// check at a time, and five in a second at most.
func (c *Client) NetworkChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkAgain = true
	if c.checking || c.closing.Err() != nil {
		return
	}
	c.checking = true
	c.checks.Go(c.check)
}

// check carries checks out until no more are asked for.
func (c *Client) check() {
	for {
		c.mu.Lock()
		if !c.checkAgain || c.closing.Err() != nil {
			c.checking = false
			c.mu.Unlock()
			return
		}
		wait := time.Until(c.checked.Add(checkEvery))
		c.mu.Unlock()
		if wait > 0 && !sleep(c.closing, wait) {
			continue
		}
		c.mu.Lock()
		c.checkAgain, c.checked = false, time.Now()
		cc := c.conn
		c.mu.Unlock()
		c.config.HTTPClient.CloseIdleConnections() // of the old network
		if cc == nil || cc.ctx.Err() != nil {
			c.checkAttempt()
		} else {
			c.checkConn(cc)
		}
	}
}

// checkAttempt ends a pause at once, and an attempt that gets nowhere: its packets may still leave by the old network.
func (c *Client) checkAttempt() {
	c.skipPause()
	c.mu.Lock()
	a := c.attempt
	c.mu.Unlock()
	if a == nil {
		return
	}
	t := time.NewTimer(checkPatience)
	defer t.Stop()
	select {
	case <-a.done:
	case <-t.C:
		c.skipPause()
		a.cancel(errMoved)
	}
}

// skipPause has run try again without a pause.
func (c *Client) skipPause() {
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

// checkConn finds out whether old is alive, and makes another connection in case it is not.
func (c *Client) checkConn(old *clientConn) {
	answered := old.probe()
	failed := make(chan struct{}, 1)
	attempt := func() {
		c.checks.Go(func() {
			if c.replace(old, answered) == nil { // if it fails, old may do better
				old.cancel(errSuperseded) // run takes the new one
				return
			}
			failed <- struct{}{}
		})
	}
	attempt()
	t := time.NewTimer(checkPatience)
	defer t.Stop()
	var again <-chan time.Time // looks whether the network has changed since an attempt failed
	for {
		select {
		case <-answered:
			c.mu.Lock()
			a := c.attempt
			c.mu.Unlock()
			if a != nil && a.checks {
				a.cancel(errAlive)
			}
			return
		case <-old.ctx.Done():
			return
		case <-t.C: // if there still is an attempt, run waits for it and takes what comes of it
			old.cancel(errSilent)
			return
		case <-failed:
			again = time.After(checkAgain)
		case <-again:
			again = nil
			c.mu.Lock()
			changed := c.checkAgain
			c.checkAgain = false
			c.mu.Unlock()
			if changed { // the attempt failed at once because there was no network, and now there is one
				attempt()
			} else {
				again = time.After(checkAgain)
			}
		}
	}
}

// probe asks for an answer on this connection and returns what is closed when it comes.
func (cc *clientConn) probe() <-chan struct{} {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	cc.probeID, cc.answered = rand.Uint64(), make(chan struct{})
	if len(cc.control) < maxControl { // else nothing gets out, and no answer will come
		cc.control = append(cc.control, &rvproto.Frame{Type: rvproto.TypePing, ID: cc.probeID})
		cc.wakeWriter()
	}
	return cc.answered
}

// pong takes the answer to a ping in.
func (cc *clientConn) pong(id uint64) {
	c := cc.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if cc.answered != nil && id == cc.probeID {
		close(cc.answered)
		cc.answered = nil
	}
}

// An attempt is a connection being made. There is one at a time, for the server takes two registrations of one client that
// cross each other for two clients.
type attempt struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	checks bool // it is made while another one may be alive
}

// establish makes a connection for run, unless there is one already.
func (c *Client) establish() (*clientConn, error) {
	c.dialing <- struct{}{}
	defer func() { <-c.dialing }()
	c.mu.Lock()
	cc := c.successor
	c.successor = nil
	c.mu.Unlock()
	if cc != nil {
		return cc, nil
	}
	return c.try(nil)
}

// replace makes a connection to take the place of old and leaves it for run, unless old turns out to be alive before it is
// registered, or has ended, in which case run makes one.
func (c *Client) replace(old *clientConn, answered <-chan struct{}) error {
	c.dialing <- struct{}{}
	defer func() { <-c.dialing }()
	wanted := func() bool {
		select {
		case <-answered:
			return false
		default:
			return old.ctx.Err() == nil
		}
	}
	c.mu.Lock()
	taken := c.successor != nil
	c.mu.Unlock()
	if taken || !wanted() {
		return errAlive
	}
	cc, err := c.try(func() bool {
		select {
		case <-answered:
			return false
		default:
			return true // also if old has ended: the rest takes one round trip
		}
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.successor = cc
	c.mu.Unlock()
	return nil
}

// try makes a connection and registers it, unless commit, if not nil, says shortly before that it is not wanted any more.
// c.dialing is held.
func (c *Client) try(commit func() bool) (*clientConn, error) {
	ctx, cancel := context.WithCancelCause(c.closing)
	defer cancel(nil)
	a := &attempt{cancel, make(chan struct{}), commit != nil}
	defer close(a.done)
	c.mu.Lock()
	c.attempt = a
	c.mu.Unlock()
	cc, err := c.connect(ctx, commit)
	c.mu.Lock()
	c.attempt = nil
	c.mu.Unlock()
	return cc, err
}

// succeeded reports whether a connection that has ended was only put aside for another one of this client, or, if it says that
// it was replaced, may have been.
func (c *Client) succeeded(replaced bool) bool {
	c.dialing <- struct{}{} // an attempt may not know yet that it has registered
	defer func() { <-c.dialing }()
	c.mu.Lock()
	defer c.mu.Unlock()
	crossed := c.crossed
	c.crossed = false
	return c.successor != nil || (replaced && crossed)
}
