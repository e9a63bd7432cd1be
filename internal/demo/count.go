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

	"github.com/seed-98f0d4c2/runnel/internal/tally"
)

// tick is how often a number is said.
const tick = 20 * time.Millisecond

// A count is one peer counting aloud to another.
type count struct {
	*tally.Tally
	from, to *talker

	mu    sync.Mutex
	notes []string // what the hearer has said of the path; guarded by mu
}

func newCount(from, to *talker) *count { return &count{Tally: tally.New(), from: from, to: to} }

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
			if err := c.from.write(strconv.Itoa(c.Say())); err != nil {
				c.Fail("%v", err)
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
			hears.Hear(text)
			continue
		}
		if _, ok := strings.CutPrefix(line, "* delivered "); ok {
			says.Confirm()
			continue
		}
		if notable.MatchString(line) {
			hears.mu.Lock()
			hears.notes = append(hears.notes, strings.TrimPrefix(line, "* "))
			hears.mu.Unlock()
		}
		if strings.HasPrefix(line, "* undelivered ") || strings.HasPrefix(line, "* ended ") || strings.HasPrefix(line, "* file failed ") {
			hears.Fail("%s says %q", t.nick, line)
		}
		_, _ = t.notes.Write([]byte(line + "\n"))
	}
}

// begin begins an act.
func (c *count) begin() {
	c.Begin()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = nil
}

// result is what has happened since.
func (c *count) result() (gap time.Duration, notes []string) {
	gap, _ = c.Gap()
	c.mu.Lock()
	defer c.mu.Unlock()
	return gap, c.notes
}

// calm waits until a number has been heard that was said a second from now.
func (c *count) calm(ctx context.Context) error {
	target := c.Numbers().Said + int(time.Second/tick)
	return c.until(ctx, func(n tally.Numbers) bool { return n.Heard >= target })
}

// settle waits until all that was said has been heard, and is known to have been.
func (c *count) settle(ctx context.Context) error { return c.until(ctx, tally.Settled) }

func (c *count) until(ctx context.Context, done func(tally.Numbers) bool) error {
	ctx, cancel := context.WithTimeout(ctx, calmTime)
	defer cancel()
	if err := c.Wait(ctx, done); err != nil {
		return fmt.Errorf("from %s to %s: %w", c.from.nick, c.to.nick, err)
	}
	return nil
}
