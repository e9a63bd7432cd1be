// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package signaling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// steady is how long a connection must have lasted for the next failure to be the first again. After one that was
	// shorter, but was one, the pause stays so short that the session can be resumed: on a bad network that is the rule.
	steady       = 10 * time.Second
	shortFailure = 3 // failures that a short connection leaves of those before: 4 s

	// maxRetryAfter bounds how long a server can keep a client away.
	maxRetryAfter = 5 * time.Minute
)

// A laterError is a connection that ended with a wish of the server when to come back.
type laterError struct {
	err    error
	after  time.Duration // not before
	spread time.Duration // and then at a random time within
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// run connects until the client is closed or replaced.
func (c *Client) run() {
	defer close(c.done)
	defer c.discard()
	defer c.config.HTTPClient.CloseIdleConnections()
	failures := 0
	for {
		lasted, err := c.session()
		switch {
		case c.closing.Err() != nil:
			c.err = ErrClosed
			return
		case lasted > 0 && c.succeeded(errors.Is(err, ErrReplaced)): // also when it says that it was replaced
			continue
		case errors.Is(err, ErrReplaced):
			c.config.Log.Warn("replaced by another registration of this key")
			c.err = err
			c.close()
			return
		}
		c.mu.Lock()
		c.stats.LastErr = err
		c.mu.Unlock()
		switch {
		case lasted >= steady:
			failures = 0
		case lasted > 0:
			failures = min(failures, shortFailure)
		}
		pause := c.pause(failures, err)
		failures++
		c.config.Log.Info("rendezvous connection ended", slog.Any("error", err), slog.Duration("retry_in", pause))
		if !c.rest(pause) {
			c.err = ErrClosed
			return
		}
	}
}

// discard ends what changes of the network have started. The client is closing.
func (c *Client) discard() {
	c.mu.Lock()
	c.close() // whoever starts one looks at that first, with c.mu held
	c.mu.Unlock()
	c.checks.Wait()
	c.mu.Lock()
	cc := c.successor
	c.successor, c.conn = nil, nil
	c.mu.Unlock()
	if cc != nil {
		cc.cancel(ErrClosed)
		cc.ws.CloseNow()
	}
}

// rest pauses, unless a change of the network makes that pointless. It reports false if the client is closing.
func (c *Client) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.hurry:
	case <-c.closing.Done():
	}
	return c.closing.Err() == nil
}

// pause is how long to wait before the next attempt: full jitter, so that clients that lost a server together do not come
// back together.
func (c *Client) pause(failures int, err error) time.Duration {
	limit := c.config.BackoffMax
	if failures < 20 {
		limit = min(limit, c.config.BackoffMin<<failures)
	}
	pause := rand.N(limit)
	if later, ok := errors.AsType[*laterError](err); ok {
		pause = max(pause, min(later.after, maxRetryAfter))
		if later.spread > 0 {
			pause = min(later.after, maxRetryAfter) + rand.N(min(later.spread, maxRetryAfter))
		}
	}
	return pause
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// refusal makes the error of an answer to the WebSocket handshake that was not 101.
func refusal(resp *http.Response, err error) error {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return err
	}
	err = fmt.Errorf("signaling: the rendezvous server answered %s", resp.Status)
	if s, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && s > 0 && s < 1<<20 {
		after := time.Duration(s) * time.Second
		return &laterError{err: err, after: after, spread: after}
	}
	return err
}
