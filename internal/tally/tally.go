// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package tally

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxFaults is how many faults are remembered: one is enough, and ten tell more.
const maxFaults = 10

// Numbers are how far the count has come.
type Numbers struct {
	Said      int // the last number said
	Heard     int // how many were heard
	Delivered int // how many the speaker knows to be there
}

// String says all three.
func (n Numbers) String() string {
	return fmt.Sprintf("%d said, %d heard, %d known to be", n.Said, n.Heard, n.Delivered)
}

// Settled reports whether all that was said is heard, and known to be.
func Settled(n Numbers) bool { return n.Heard >= n.Said && n.Delivered >= n.Said }

// A Tally is one count. Its methods may be called from any goroutine.
type Tally struct {
	mu     sync.Mutex
	n      Numbers
	at     time.Time // when the last one was heard
	since  time.Time // see Begin
	gap    time.Duration
	gapAt  time.Duration // when the gap began, after since
	faults []string
	news   chan struct{} // closed, and replaced, when there is any
}

// New returns a count that begins at 1.
func New() *Tally { return &Tally{news: make(chan struct{})} }

func (t *Tally) tell() {
	close(t.news)
	t.news = make(chan struct{})
}

// Say returns the next number to say.
func (t *Tally) Say() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n.Said++
	return t.n.Said
}

// Hear takes what was heard. Anything but the next number is a fault.
func (t *Tally) Hear(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if gap := now.Sub(t.at); !t.at.IsZero() && gap > t.gap {
		t.gap, t.gapAt = gap, t.at.Sub(t.since)
	}
	t.at = now
	if text != strconv.Itoa(t.n.Heard+1) {
		t.fault("heard %q after %d: lost, doubled or out of order", text, t.n.Heard)
	}
	t.n.Heard++
	t.tell()
}

// Confirm takes note that the speaker knows one more to be there.
func (t *Tally) Confirm() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n.Delivered++
	t.tell()
}

// Fail notes that something went wrong.
func (t *Tally) Fail(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault(format, args...)
	t.tell()
}

func (t *Tally) fault(format string, args ...any) {
	if len(t.faults) < maxFaults {
		t.faults = append(t.faults, fmt.Sprintf(format, args...))
	}
}

// Begin has the gap measured from now on.
func (t *Tally) Begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
	t.gap, t.gapAt, t.at = 0, 0, t.since
}

// Gap returns the longest time without a number since Begin, and how long after that it began.
func (t *Tally) Gap() (gap, at time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gap, t.gapAt
}

// Numbers returns how far the count has come.
func (t *Tally) Numbers() Numbers {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// Wait waits until done says so of the numbers. It returns an error when something has gone wrong, or ctx ends.
func (t *Tally) Wait(ctx context.Context, done func(Numbers) bool) error {
	for {
		t.mu.Lock()
		n, faults, news := t.n, strings.Join(t.faults, "; "), t.news
		t.mu.Unlock()
		switch {
		case faults != "":
			return fmt.Errorf("tally: %s", faults)
		case done(n):
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("tally: %v: %w", n, ctx.Err())
		}
	}
}
