// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-98f0d4c2/runnel/flow"
)

func TestMessages(t *testing.T) {
	if got, want := string(helloMessage("alice")), `{"nick":"alice"}`; got != want {
		t.Errorf("hello is %s, want %s", got, want)
	}
	if got, want := string(textMessage("<b> & ü")), `{"text":"<b> & ü"}`; got != want {
		t.Errorf("text is %s, want %s", got, want)
	}
	if m, err := parseMessage([]byte(`{"text":"","colour":"red"}`)); err != nil || m.Text == nil || m.Nick != "" {
		t.Errorf("empty text with an unknown field: %+v, %v; want the text", m, err)
	}
	for _, bad := range []string{"", "hello", "[]", `{"text":1}`, `{"nick":`} {
		if m, err := parseMessage([]byte(bad)); err == nil {
			t.Errorf("parseMessage(%q) = %+v, want an error", bad, m)
		}
	}
}

func TestFileOffers(t *testing.T) {
	o, err := parseFileOffer([]byte(`{"name":"../../a.txt","size":5}`))
	if err != nil || o != (fileOffer{Name: "a.txt", Size: 5}) {
		t.Errorf("offer is %+v, %v; want a.txt of 5 bytes", o, err)
	}
	for _, bad := range []string{"", `{"size":-1}`, `{"size":1e30}`, `{"size":"5"}`} {
		if o, err := parseFileOffer([]byte(bad)); err == nil {
			t.Errorf("parseFileOffer(%q) = %+v, want an error", bad, o)
		}
	}
	long := marshal(fileOffer{Name: safeName(strings.Repeat("&'ü", 300)), Size: 1 << 62})
	if len(long) > flow.MaxMetadata {
		t.Errorf("the longest offer has %d bytes, more than the %d of metadata", len(long), flow.MaxMetadata)
	}
}

func TestFileResults(t *testing.T) {
	if err := parseFileResult([]byte(`{"ok":true}`)); err != nil {
		t.Errorf("ok: %v", err)
	}
	for _, bad := range []string{"", "{}", `{"ok":false,"error":"disk full"}`} {
		if err := parseFileResult([]byte(bad)); err == nil {
			t.Errorf("parseFileResult(%q) is no error", bad)
		}
	}
}

func TestExplain(t *testing.T) {
	err := explain(&flow.AbandonedError{Cause: &flow.RejectedError{Code: codeQuit}})
	if !strings.Contains(err.Error(), "called it off") {
		t.Errorf("a refused file is explained as %q", err)
	}
	if other := errors.New("x"); !errors.Is(explain(other), other) {
		t.Error("another error was changed")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"nick":"a","text":"b"}`))
	f.Add([]byte(`{"name":"a","size":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseMessage(b)
		_ = parseFileResult(b)
		if o, err := parseFileOffer(b); err == nil && (o.Size < 0 || o.Name == "") {
			t.Errorf("parseFileOffer(%q) = %+v", b, o)
		}
	})
}
