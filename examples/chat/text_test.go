// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"hello":                       "hello",
		"a\x1b[31mred\x1b[0m":         "a[31mred[0m",
		"over\rwrite\b\b":             "overwrite",
		"two\nlines\tand a tab":       "two lines and a tab",
		"\u202egpj.exe":               "gpj.exe",
		"\u2066hidden\u2069\ufeff":    "hidden",
		"c1 \u009b31m csi":            "c1 31m csi",
		"family 👩\u200d👧 and ünïcödé": "family 👩\u200d👧 and ünïcödé",
		"bad \xff byte":               "bad \ufffd byte",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCleanNick(t *testing.T) {
	for in, want := range map[string]string{
		"alice":                        "alice",
		" al ice\n":                    "al_ice",
		"\x1b\u202e":                   "",
		"a\u200db":                     "ab", // invisible differences between names help impostors only
		strings.Repeat("ä", maxNick*2): strings.Repeat("ä", maxNick),
	} {
		if got := cleanNick(in); got != want {
			t.Errorf("cleanNick(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSafeName(t *testing.T) {
	for in, want := range map[string]string{
		"photo.jpg":              "photo.jpg",
		"two words.txt":          "two words.txt",
		"/etc/passwd":            "passwd",
		`C:\Windows\system.ini`:  "system.ini",
		"../../.ssh/known_hosts": "known_hosts",
		"..":                     "file",
		".":                      "file",
		"":                       "file",
		"a/":                     "file",
		".bashrc":                "_bashrc",
		"-rf":                    "_rf",
		"a\x00b\x1b[2J.txt":      "ab[2J.txt",
		"evil\u202egpj.exe":      "evilgpj.exe",
		"a<b>c:d|e?f*g\"h":       "a_b_c_d_e_f_g_h",
		"trailing. . ":           "trailing",
		"CON":                    "_CON",
		"nul.txt":                "_nul.txt",
		"com1":                   "_com1",
		"LPT9.log":               "_LPT9.log",
		"console.txt":            "console.txt",
		"com.txt":                "com.txt",
		"bad\xffbyte":            "bad_byte",
	} {
		if got := safeName(in); got != want {
			t.Errorf("safeName(%q) = %q, want %q", in, got, want)
		}
	}
	long := safeName(strings.Repeat("ü", 400) + ".tar.gz")
	if len(long) > maxName || !strings.HasSuffix(long, ".gz") || !utf8.ValidString(long) {
		t.Errorf("a long name became %q with %d bytes, want at most %d, valid, with its extension", long, len(long), maxName)
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"a.txt", "../x", ".", "con.txt", "\xff", strings.Repeat("é", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := safeName(s)
		switch {
		case got == "" || got == "." || got == "..":
			t.Errorf("safeName(%q) = %q, which is no name", s, got)
		case strings.ContainsAny(got, `/\`) || strings.ContainsFunc(got, unicode.IsControl):
			t.Errorf("safeName(%q) = %q has characters it must not have", s, got)
		case len(got) > maxName || !utf8.ValidString(got):
			t.Errorf("safeName(%q) = %q: %d bytes, valid %v", s, got, len(got), utf8.ValidString(got))
		case strings.HasPrefix(got, ".") || strings.HasPrefix(got, "-") || device.MatchString(got):
			t.Errorf("safeName(%q) = %q is hidden, an option or a device", s, got)
		}
		if again := safeName(got); again != got {
			t.Errorf("safeName(%q) = %q, and of that it makes %q", s, got, again)
		}
	})
}

func TestNumbered(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int
		want string
	}{{"a.txt", 0, "a.txt"}, {"a.txt", 1, "a (1).txt"}, {"noext", 12, "noext (12)"}, {"a.tar.gz", 2, "a.tar (2).gz"}} {
		if got := numbered(c.name, c.n); got != c.want {
			t.Errorf("numbered(%q, %d) = %q, want %q", c.name, c.n, got, c.want)
		}
	}
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		n    int64
		d    time.Duration
		want string
	}{{0, time.Second, "0B/s"}, {1500, time.Second, "1.5kB/s"}, {5 << 20, 500 * time.Millisecond, "10.5MB/s"}, {1, 0, "1MB/s"}} {
		if got := rate(c.n, c.d); got != c.want {
			t.Errorf("rate(%d, %v) = %q, want %q", c.n, c.d, got, c.want)
		}
	}
}
