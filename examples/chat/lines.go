// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/seed-98f0d4c2/runnel/flow"
)

// A line is something the user has said, on its way to all who were there.
type line struct {
	n    int // counted from 1
	text string

	// Guarded by chat.mu.
	left   int  // contacts whose fate is open
	failed bool // for one at least
}

// say sends text to everybody. It never waits: who lags too far misses it, and we say so.
func (c *chat) say(text string) {
	if len(text) > maxText {
		c.out.alarm("error a line may have %d bytes, not %d", maxText, len(text))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines++
	ln := &line{n: c.lines, text: text, left: 1} // until all have been asked
	c.pending.add()
	for _, ct := range c.sorted() {
		ln.left++
		switch ct.state {
		case dialling, connected:
			select {
			case ct.outbox <- ln:
			default:
				ct.dropped++
				c.settleLine(ln, ct, errLags)
			}
		default:
			c.settleLine(ln, ct, errNotConnected)
		}
	}
	if len(c.contacts) == 0 {
		ln.failed = true
		c.out.undelivered(ln.n, ln.text, "anybody", errors.New("no peers; /add one"))
	}
	c.finishLine(ln)
}

// settleLine notes what became of a line for one contact. c.mu is held.
func (c *chat) settleLine(ln *line, ct *contact, err error) {
	if err != nil {
		ln.failed = true
		if !c.quitting {
			c.out.undelivered(ln.n, ln.text, c.name(ct), explain(err))
		}
	}
	c.finishLine(ln)
}

// finishLine takes one off what a line waits for. c.mu is held.
func (c *chat) finishLine(ln *line) {
	ln.left--
	if ln.left > 0 {
		return
	}
	if !ln.failed {
		c.out.delivered(ln.n, ln.text)
	}
	c.pending.done()
}

// A sentLine is a line that the session has taken.
type sentLine struct {
	*line
	receipt *flow.Receipt
}

// writeLines says hello and then what is in the contact's outbox. A slow peer holds up this goroutine only, and the outbox
// fills.
func (c *chat) writeLines(ctx context.Context, l *link) {
	f, err := l.s.OpenFlow(labelChat, &flow.Options{Priority: flow.Urgent, SendBuffer: 64 << 10})
	if err != nil {
		return
	}
	if _, err := f.Send(ctx, helloMessage(c.nick)); err != nil {
		return
	}
	sent := make(chan sentLine, outboxSize)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(sent)
	wg.Go(func() { c.watchReceipts(l, sent) })
	for {
		select {
		case <-ctx.Done(): // before another line is taken that would be lost
			return
		default:
		}
		select {
		case ln := <-l.ct.outbox:
			receipt, err := f.Send(ctx, textMessage(ln.text))
			if err != nil {
				c.mu.Lock()
				c.settleLine(ln, l.ct, l.over(err))
				c.mu.Unlock()
				continue
			}
			sent <- sentLine{ln, receipt}
		case <-ctx.Done():
			return
		}
	}
}

// watchReceipts follows the lines of one session to their fate, which comes in the order they were sent. It ends with the
// session at the latest.
func (c *chat) watchReceipts(l *link, sent <-chan sentLine) {
	for s := range sent {
		err := s.receipt.Wait(context.Background()) // every receipt is decided when the session ends
		if err != nil {
			var abandoned *flow.AbandonedError
			if errors.As(err, &abandoned) && abandoned.Cause != nil {
				err = fmt.Errorf("perhaps not arrived: %w", abandoned.Cause)
			}
		}
		c.mu.Lock()
		c.settleLine(s.line, l.ct, err)
		c.mu.Unlock()
	}
}
