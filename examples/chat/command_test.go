// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/seed-98f0d4c2/runnel/signaling"
)

func newID(t *testing.T) signaling.PeerID {
	t.Helper()
	key, err := signaling.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return signaling.IDFromKey(key)
}

func TestSplitWords(t *testing.T) {
	for in, want := range map[string][]string{
		"":                        nil,
		"  ":                      nil,
		"send a.txt bob":          {"send", "a.txt", "bob"},
		"send  \t a.txt ":         {"send", "a.txt"},
		`send "two words.txt" b`:  {"send", "two words.txt", "b"},
		`send 'it"s' x`:           {"send", `it"s`, "x"},
		`send C:\dir\file.txt`:    {"send", `C:\dir\file.txt`},
		`send pre"fix and"suffix`: {"send", "prefix andsuffix"},
		`send ""`:                 {"send", ""},
	} {
		got, err := splitWords(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("splitWords(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	if got, err := splitWords(`send "a`); err == nil {
		t.Errorf("splitWords with an open quote = %q, want an error", got)
	}
}

func TestParseTarget(t *testing.T) {
	id := newID(t)
	got, err := parseTarget(t.Context(), id.String())
	if err != nil || got.ID != id || got.Addrs != nil {
		t.Errorf("ID alone: %v, %v", got, err)
	}
	for addr, want := range map[string]string{"192.0.2.1:4242": "192.0.2.1:4242", "[2001:db8::1]:1": "[2001:db8::1]:1"} {
		got, err := parseTarget(t.Context(), id.String()+"@"+addr)
		if err != nil || got.ID != id || !slices.Equal(got.Addrs, []netip.AddrPort{netip.MustParseAddrPort(want)}) {
			t.Errorf("ID@%s: %v, %v; want %s", addr, got, err, want)
		}
	}
	for _, bad := range []string{"", "alice", id.String()[1:], id.String() + "@", id.String() + "@192.0.2.1", id.String() + "@192.0.2.1:0"} {
		if got, err := parseTarget(t.Context(), bad); err == nil {
			t.Errorf("parseTarget(%q) = %v, want an error", bad, got)
		}
	}
}

func TestHandleBadCommands(t *testing.T) {
	for input, want := range map[string]string{
		"/":              "no command",
		"/dance":         "no command /dance",
		"/add":           "whom",
		"/add xyz":       "bad peer ID",
		"/send":          "which file",
		"/send a b c":    "too many",
		"/peers of mine": "too many",
		`/send "a`:       "missing",
		"/send a nobody": `no peer is called "nobody"`,
		"/send a":        "not connected",
		"/path":          "not connected",
	} {
		out := newTranscript()
		c := newChat(&screen{w: out}, "me", t.TempDir(), 1<<20)
		if c.handle(t.Context(), input) {
			t.Errorf("%q ended the program", input)
		}
		if got := out.all(); !strings.HasPrefix(got, "* error ") || !strings.Contains(got, want) {
			t.Errorf("%q printed %q, want an error with %q", input, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	c := newChat(&screen{w: newTranscript()}, "me", t.TempDir(), 1<<20)
	c.mu.Lock()
	defer c.mu.Unlock()
	a, b, d := newContact(newID(t)), newContact(newID(t)), newContact(newID(t))
	a.nick, b.nick, d.nick = "alice", "bob", "bob"
	for _, ct := range []*contact{a, b, d} {
		c.contacts[ct.id] = ct
	}
	for ref, want := range map[string]*contact{
		"alice": a, a.id.String(): a, a.id.String()[:20]: a, strings.ToUpper(b.id.String()): b, c.name(d): d,
	} {
		if got, err := c.find(ref); got != want {
			t.Errorf("find(%q) = %v, %v; want %v", ref, got, err, want.id)
		}
	}
	for _, ref := range []string{"bob", "carol", "a"} {
		if got, err := c.find(ref); err == nil {
			t.Errorf("find(%q) = %v, want an error: it names nobody, or two", ref, got.id)
		}
	}
}

func TestLaggingPeerMissesLines(t *testing.T) {
	out := newTranscript()
	c := newChat(&screen{w: out}, "me", t.TempDir(), 1<<20)
	slow := newContact(newID(t)) // its outbox is read by nobody
	slow.state, slow.nick = connected, "slow"
	c.contacts[slow.id] = slow
	for range outboxSize {
		c.handle(t.Context(), "filler")
	}
	if got := out.all(); got != "" {
		t.Errorf("lines that wait printed %q, want nothing", got)
	}
	c.handle(t.Context(), "one too many")
	if got, want := out.all(), fmt.Sprintf("* undelivered %d slow: it lags", outboxSize+1); !strings.HasPrefix(got, want) {
		t.Errorf("the line too many printed %q, want %q", got, want)
	}
	c.mu.Lock()
	c.set(slow, waiting, errors.New("gone"))
	c.mu.Unlock()
	if got, want := strings.Count(out.all(), ": gone\n"), outboxSize; got != want {
		t.Errorf("%d waiting lines failed with the peer, want %d", got, want)
	}
	select {
	case <-c.pending.idle():
	default:
		t.Error("something is still pending although every line's fate is known")
	}
}
