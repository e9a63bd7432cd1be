// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/tally"
)

// A count is one peer counting aloud to another, and what is heard of it.
type count struct {
	*tally.Tally
	t        *testing.T
	from, to *chatter
}

// countBoth lets both count, a number each in every interval, until the test ends or the function that it returns is called.
// Their lines no longer appear in what the processes have printed.
func countBoth(t *testing.T, a, b *chatter, interval time.Duration) (there, back *count, stop func()) {
	there, back = &count{tally.New(), t, a, b}, &count{tally.New(), t, b, a}
	for c, other := range map[*count]*count{there: back, back: there} {
		c.to.mu.Lock()
		c.to.tap = func(line string) bool { return c.hear(line) || other.confirm(line) }
		c.to.mu.Unlock()
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				there.speak()
				back.speak()
			case <-quit:
				return
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(quit)
		wg.Wait()
	})
	t.Cleanup(stop)
	return there, back, stop
}

func (c *count) speak() {
	if _, err := io.WriteString(c.from.stdin, strconv.Itoa(c.Say())+"\n"); err != nil {
		c.Fail("%s takes no lines: %v", c.from.nick, err)
	}
}

// hear takes what the hearer prints.
func (c *count) hear(line string) bool {
	text, ok := strings.CutPrefix(line, "< "+c.from.nick+": ")
	if ok {
		c.Hear(text)
	}
	return ok
}

// confirm takes what the speaker prints.
func (c *count) confirm(line string) bool {
	ok := strings.HasPrefix(line, "* delivered ")
	if ok {
		c.Confirm()
	}
	return ok
}

// calm waits until n numbers more than have been said now have been heard.
func (c *count) calm(n int, within time.Duration) {
	c.t.Helper()
	target := c.Numbers().Said + n
	c.until(within, fmt.Sprintf("number %d to be heard", target), func(n tally.Numbers) bool { return n.Heard >= target })
}

// settle waits until all that was said has been heard, and is known to have been. Nothing is said any more.
func (c *count) settle(within time.Duration) {
	c.t.Helper()
	c.until(within, "all to be heard and known to be", tally.Settled)
}

func (c *count) until(within time.Duration, want string, done func(tally.Numbers) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), within)
	defer cancel()
	if err := c.Wait(ctx, done); err != nil {
		c.t.Fatalf("from %s to %s: %v; want %s within %v", c.from.nick, c.to.nick, err, want, within)
	}
}
