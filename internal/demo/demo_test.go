// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"slices"
	"testing"
)

func TestShellWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                          nil,
		"a  b\tc":                   {"a", "b", "c"},
		`--relay 'turn:h:1?x=y' -s`: {"--relay", "turn:h:1?x=y", "-s"},
		`"a b"'c d'e`:               {"a bc de"},
		`a\ b "c\"d" "e\f" 'g\h'`:   {"a b", `c"d`, `e\f`, `g\h`},
		`""`:                        {""},
	} {
		got, err := shellWords(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("shellWords(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{`"a`, `'a`, `a\`} {
		if got, err := shellWords(bad); err == nil {
			t.Errorf("shellWords(%q) = %q, want an error", bad, got)
		}
	}
}

func TestReader(t *testing.T) {
	tl := newTail()
	r := &reader{t: tl}
	io.WriteString(tl, "one\r\ntw")
	io.WriteString(tl, "o\n")
	tl.close()
	for _, want := range []string{"one", "two"} {
		if got, err := r.next(t.Context()); err != nil || got != want {
			t.Errorf("next line is %q, %v; want %q", got, err, want)
		}
	}
	if got, err := r.next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %q, %v; want io.EOF", got, err)
	}
	for range logLines + 10 {
		io.WriteString(tl, "filler\n")
	}
	if got := len(tl.all()); got != logLines {
		t.Errorf("%d lines are kept, want %d", got, logLines)
	}
}
