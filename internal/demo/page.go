// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
)

// A page is what the audience sees.
type page struct {
	w      io.Writer
	colour bool
}

// Escape sequences (ECMA-48, SGR).
const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	green = "\x1b[32m"
	reset = "\x1b[0m"
)

func (p *page) paint(style, text string) string {
	if !p.colour {
		return text
	}
	return style + text + reset
}

func (p *page) title(text string) { fmt.Fprintf(p.w, "\n%s\n\n", p.paint(bold, text)) }
func (p *page) gap()              { fmt.Fprintln(p.w) }

// act prints what is going to happen.
func (p *page) act(text string) { fmt.Fprintf(p.w, "  %s\n", p.paint(bold, text)) }

// fact prints one thing worth knowing.
func (p *page) fact(name, format string, args ...any) {
	fmt.Fprintf(p.w, "  %s %s\n", p.paint(dim, fmt.Sprintf("%-11s", name)), fmt.Sprintf(format, args...))
}

// quote prints what somebody said and how long it took to be there.
func (p *page) quote(who, text, took string) {
	pad := strings.Repeat(" ", max(0, 70-columns(text)))
	fmt.Fprintf(p.w, "  %s │ %s%s %s\n", p.paint(bold, fmt.Sprintf("%9s", who)), text, pad, p.paint(green, "✓ "+took))
}

// columns is about how wide text is on a terminal: East Asian characters and emoji take two columns.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r >= 0x2e80 && r < 0xe000 || r >= 0x1f300 {
			n++
		}
	}
	return n
}
