// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// A screen is where lines go. Everything that others have had a say in passes through it and is made harmless there.
// Its methods may be called from any goroutine.
type screen struct {
	mu     sync.Mutex
	w      io.Writer // gets one line at a time
	human  bool      // a person reads it, not a program
	colour bool
}

// Escape sequences (ECMA-48, SGR).
const (
	plain = ""
	dim   = "\x1b[2m"
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	cyan  = "\x1b[36m"
	reset = "\x1b[0m"
)

// paint is text in a style.
func (s *screen) paint(style, text string) string {
	text = clean(text)
	if !s.colour || style == plain {
		return text
	}
	return style + text + reset
}

func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.w, text+"\n") // with nobody to read it there is nobody to tell
}

// note says what has happened.
func (s *screen) note(format string, args ...any) {
	s.line(s.paint(cyan, "* "+fmt.Sprintf(format, args...)))
}

// aside says what is good to know and not important.
func (s *screen) aside(format string, args ...any) {
	s.line(s.paint(dim, "* "+fmt.Sprintf(format, args...)))
}

// alarm says what has gone wrong.
func (s *screen) alarm(format string, args ...any) {
	s.line(s.paint(red, "* "+fmt.Sprintf(format, args...)))
}

// said shows what a peer says.
func (s *screen) said(nick, text string) {
	s.line(s.paint(bold, "< "+nick+":") + " " + s.paint(plain, text))
}

// text shows a table or the like as it is.
func (s *screen) text(text string) {
	for line := range strings.Lines(text) {
		s.line("  " + s.paint(plain, strings.TrimRight(line, "\r\n ")))
	}
}

// delivered says that the n-th line has arrived.
func (s *screen) delivered(n int, text string) {
	if !s.human {
		s.note("delivered %d", n)
		return
	}
	s.line(s.paint(dim, "✓ "+ellipsis(text, 60)))
}

// undelivered says that it has not arrived at a peer.
func (s *screen) undelivered(n int, text, nick string, why error) {
	if !s.human {
		s.alarm("undelivered %d %s: %v", n, nick, why)
		return
	}
	s.line(s.paint(red, fmt.Sprintf("✗ %s: not delivered to %s: %v", ellipsis(text, 30), nick, why)))
}

// ellipsis is the beginning of text.
func ellipsis(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// logLines shows log lines on a screen.
type logLines struct{ s *screen }

func (l logLines) Write(b []byte) (int, error) {
	l.s.line(l.s.paint(dim, strings.TrimRight(string(b), "\n")))
	return len(b), nil
}
