// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A count is one peer counting aloud to another, and what is heard of it.
type count struct {
	t        *testing.T
	from, to *chatter

	mu        sync.Mutex // guards the following
	sent      int        // the last number said
	heard     int        // the last number heard
	delivered int        // how many the sender knows to be there
	at        time.Time  // when the last one was heard
	since     time.Time  // see begin
	gap       time.Duration
	gapAt     time.Duration // when the gap began, after since
	bad       []string      // what must not be
}

// countBoth lets both count, a number each in every interval, until the test ends or the function that it returns is called.
// Their lines no longer appear in what the processes have printed.
func countBoth(t *testing.T, a, b *chatter, interval time.Duration) (there, back *count, stop func()) {
	there, back = &count{t: t, from: a, to: b}, &count{t: t, from: b, to: a}
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
	c.mu.Lock()
	c.sent++
	n := c.sent
	c.mu.Unlock()
	if _, err := io.WriteString(c.from.stdin, strconv.Itoa(n)+"\n"); err != nil {
		c.fail("%s takes no lines: %v", c.from.nick, err)
	}
}

// hear takes what the hearer prints.
func (c *count) hear(line string) bool {
	text, ok := strings.CutPrefix(line, "< "+c.from.nick+": ")
	if !ok {
		return false
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if gap := now.Sub(c.at); !c.at.IsZero() && gap > c.gap {
		c.gap, c.gapAt = gap, c.at.Sub(c.since)
	}
	c.at = now
	if text != strconv.Itoa(c.heard+1) && len(c.bad) < 10 {
		c.bad = append(c.bad, fmt.Sprintf("heard %q after %d: lost, doubled or out of order", text, c.heard))
	}
	c.heard++
	return true
}

// confirm takes what the speaker prints.
func (c *count) confirm(line string) bool {
	if !strings.HasPrefix(line, "* delivered ") {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delivered++
	return true
}

func (c *count) fail(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

// begin has the gap measured from now on.
func (c *count) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
	c.gap, c.at = 0, c.since
}

// longest is the longest time without a number since begin, and how long after that it began.
func (c *count) longest() (gap, at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gap, c.gapAt
}

// calm waits until n numbers more than have been said now have been heard.
func (c *count) calm(n int, within time.Duration) {
	c.t.Helper()
	c.mu.Lock()
	target := c.sent + n
	c.mu.Unlock()
	c.until(within, fmt.Sprintf("number %d to be heard", target), func() bool { return c.heard >= target })
}

// settle waits until all that was said has been heard, and is known to have been. Nothing is said any more.
func (c *count) settle(within time.Duration) {
	c.t.Helper()
	c.until(within, "all to be heard and known to be", func() bool { return c.heard >= c.sent && c.delivered >= c.sent })
}

func (c *count) until(within time.Duration, want string, done func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		ready, bad := done(), strings.Join(c.bad, "; ")
		sent, heard, delivered := c.sent, c.heard, c.delivered
		c.mu.Unlock()
		switch {
		case bad != "":
			c.t.Fatalf("from %s to %s: %s", c.from.nick, c.to.nick, bad)
		case ready:
			return
		case time.Now().After(deadline):
			c.t.Fatalf("from %s to %s: %d said, %d heard, %d known to be; want %s within %v",
				c.from.nick, c.to.nick, sent, heard, delivered, want, within)
		}
	}
}
