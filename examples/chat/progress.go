// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"
)

// A progress tells of a file under way, once a second. It belongs to one goroutine.
type progress struct {
	out         *screen
	what, tail  string // "sending", "to=bob"
	name        string
	size, count int64
	begin, told time.Time
}

func newProgress(out *screen, what, name string, size int64, tail string) *progress {
	now := time.Now()
	return &progress{out: out, what: what, tail: tail, name: name, size: size, begin: now, told: now}
}

// add takes note of n more bytes.
func (p *progress) add(n int) {
	p.count += int64(n)
	now := time.Now()
	if now.Sub(p.told) < time.Second {
		return
	}
	p.told = now
	p.out.aside("file %s %s %s rate=%s %s", p.what, p.name, percent(p.count, p.size), p.rate(), p.tail)
}

func (p *progress) rate() string { return rate(p.count, time.Since(p.begin)) }

func percent(n, of int64) string {
	if of <= 0 {
		return "100%"
	}
	return fmt.Sprintf("%d%%", int(float64(n)*100/float64(of)))
}
