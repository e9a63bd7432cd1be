// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tick is how often a number is said.
const tick = 20 * time.Millisecond

// A count is one peer counting aloud to another.
type count struct {
	from, to *talker

	mu        sync.Mutex // guards the following
	sent      int        // the last number said
	heard     int        // the last number heard
	delivered int        // how many the sender knows to be there
	at        time.Time  // when the last one was heard
	gap       time.Duration
	notes     []string // what the hearer has said of the path
	bad       []string // what must not be
}

func newCount(from, to *talker) *count { return &count{from: from, to: to} }

// speak says numbers on all counts until ctx ends.
func speak(ctx context.Context, counts ...*count) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		for _, c := range counts {
			c.mu.Lock()
			c.sent++
			n := c.sent
			c.mu.Unlock()
			if err := c.from.write(strconv.Itoa(n)); err != nil {
				c.fail("%v", err)
				return
			}
		}
	}
}

// notable lines are shown.
var notable = regexp.MustCompile(`^\* (path|degraded|stalled|resumed) `)

// listen takes in what a talker prints: numbers heard, and what became of those it said. The rest it copies to t.notes.
func listen(ctx context.Context, t *talker, hears, says *count) {
	prefix := "< " + hears.from.nick + ": "
	for r := (&reader{t: t.out, n: t.r.n}); ; {
		line, err := r.next(ctx)
		if err != nil {
			return
		}
		if text, ok := strings.CutPrefix(line, prefix); ok {
			hears.hear(text)
			continue
		}
		if _, ok := strings.CutPrefix(line, "* delivered "); ok {
			says.mu.Lock()
			says.delivered++
			says.mu.Unlock()
			continue
		}
		if notable.MatchString(line) {
			hears.mu.Lock()
			hears.notes = append(hears.notes, strings.TrimPrefix(line, "* "))
			hears.mu.Unlock()
		}
		if strings.HasPrefix(line, "* undelivered ") || strings.HasPrefix(line, "* ended ") || strings.HasPrefix(line, "* file failed ") {
			hears.fail("%s says %q", t.nick, line)
		}
		_, _ = t.notes.Write([]byte(line + "\n"))
	}
}

func (c *count) hear(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.at.IsZero() {
		c.gap = max(c.gap, now.Sub(c.at))
	}
	c.at = now
	if text != strconv.Itoa(c.heard+1) && len(c.bad) < 10 {
		c.bad = append(c.bad, fmt.Sprintf("%s heard %q after %d: lost, doubled or out of order", c.to.nick, text, c.heard))
	}
	c.heard++
}

func (c *count) fail(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

// begin begins an act.
func (c *count) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gap, c.notes, c.at = 0, nil, time.Now()
}

// result is what has happened since.
func (c *count) result() (gap time.Duration, notes []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gap, c.notes
}

func (c *count) said() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// calm waits until a number has been heard that was said a second from now.
func (c *count) calm(ctx context.Context) error {
	target := c.said() + int(time.Second/tick)
	return c.until(ctx, fmt.Sprintf("number %d has not been heard", target), func() bool { return c.heard >= target })
}

// settle waits until all that was said has been heard, and is known to have been.
func (c *count) settle(ctx context.Context) error {
	return c.until(ctx, "not all that was said is known to be heard", func() bool { return c.heard >= c.sent && c.delivered >= c.sent })
}

// until waits for a condition, and for nothing else when something is wrong.
func (c *count) until(ctx context.Context, missing string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, calmTime)
	defer cancel()
	for {
		c.mu.Lock()
		bad, ready := strings.Join(c.bad, "; "), done()
		sent, heard := c.sent, c.heard
		c.mu.Unlock()
		switch {
		case bad != "":
			return fmt.Errorf("from %s to %s: %s", c.from.nick, c.to.nick, bad)
		case ready:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("from %s to %s: %d said, %d heard, and in %v %s", c.from.nick, c.to.nick, sent, heard, calmTime, missing)
		}
		pause(ctx, tick)
	}
}
