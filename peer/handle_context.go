// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A handlerContext is the context of a handler. It costs nothing until somebody asks when it is done, which most
// handlers never do: only then is there somebody who watches the caller's flow.
type handlerContext struct {
	in       *flow.Receiver // ends when the caller gives up and when the session is over
	deadline time.Time      // zero: none

	mu   sync.Mutex
	real context.Context //nolint:containedctx // a context is made of one; made when Done is first asked for
	stop context.CancelCauseFunc
	end  context.CancelFunc // of the deadline's timer
	over bool               // the handler has returned
}

var _ context.Context = (*handlerContext)(nil)

func (c *handlerContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *handlerContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil {
		c.make()
	}
	return c.real.Done()
}

func (c *handlerContext) make() {
	c.real, c.stop = context.WithCancelCause(context.Background())
	if !c.deadline.IsZero() {
		c.real, c.end = context.WithDeadline(c.real, c.deadline)
	}
	gone := c.in.Err()
	switch {
	case c.over:
		c.stop(nil)
	case gone != nil:
		c.stop(gone)
	case c.real.Err() == nil:
		go watchCaller(c.real, c.in, c.stop)
	}
}

// watchCaller ends a handler's context when nothing can come from the caller any more.
func watchCaller(ctx context.Context, in *flow.Receiver, stop context.CancelCauseFunc) {
	select {
	case <-in.Done():
		stop(in.Err())
	case <-ctx.Done():
	}
}

func (c *handlerContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil {
		late := !c.deadline.IsZero() && !time.Now().Before(c.deadline)
		if !late && !c.over && c.in.Err() == nil {
			return nil
		}
		c.make() // from now on the answer is the same, and package context can say why
	}
	return c.real.Err()
}

// Value has none of its own, but lets package context find what Done comes from.
func (c *handlerContext) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real != nil {
		return c.real.Value(key)
	}
	return nil
}

// finish says that the handler has returned.
func (c *handlerContext) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.real != nil {
		c.stop(nil)
	}
	if c.end != nil {
		c.end()
	}
}
