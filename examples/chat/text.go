// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxNick = 32  // characters of a nick
	maxName = 180 // bytes of a file's name
)

// clean makes text of others fit for a terminal, as one line: control characters, which a terminal obeys, and invisible
// ones, which reorder or hide what is around them, are taken out. Joiners stay; scripts and emoji need them.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\u2028' || r == '\u2029':
			return ' '
		case r == '\u200c' || r == '\u200d':
			return r
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs):
			return -1
		}
		return r // an invalid byte is U+FFFD here
	}, s)
}

// cleanNick makes a single short word of s, or nothing.
func cleanNick(s string) string {
	s = strings.Join(strings.Fields(strings.NewReplacer("\u200c", "", "\u200d", "").Replace(clean(s))), "_")
	if r := []rune(s); len(r) > maxNick {
		s = string(r[:maxNick])
	}
	return s
}

// device matches what Windows takes for a device, whatever follows a dot.
var device = regexp.MustCompile(`(?i)^ *(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)`)

// safeName makes of a name that somebody else has chosen one that is safe to create in a directory of ours, on any system:
// no directories, nothing hidden, no device, and no characters that a file system or a shell takes for something else.
func safeName(s string) string {
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>:"|?*`, r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, clean(s))
	s = shorten(strings.TrimSpace(s), maxName-1) // there may come a character in front
	s = strings.TrimRightFunc(s, func(r rune) bool { return r == '.' || unicode.IsSpace(r) })
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "-") { // hidden, or an option to a careless command
		s = "_" + s[1:]
	}
	switch {
	case s == "":
		return "file"
	case device.MatchString(s):
		return "_" + s
	}
	return s
}

// shorten cuts s to at most n bytes in front of its extension.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	ext := filepath.Ext(s)
	if len(ext) > 16 {
		ext = ""
	}
	stem := s[:n-len(ext)]
	for !utf8.ValidString(stem) {
		stem = stem[:len(stem)-1]
	}
	return stem + ext
}

// numbered returns name with a number in front of its extension, as in "photo (1).jpg". Zero is name itself.
func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	ext := filepath.Ext(name)
	return fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(name, ext), n, ext)
}

// rate tells how fast n bytes went.
func rate(n int64, d time.Duration) string {
	v := float64(n) / max(d.Seconds(), 1e-6)
	for _, unit := range []string{"B/s", "kB/s", "MB/s"} {
		if v < 1000 {
			return fmt.Sprintf("%.3g%s", v, unit)
		}
		v /= 1000
	}
	return fmt.Sprintf("%.3gGB/s", v)
}

// brief is d with about three digits, or "-" if it is not known.
func brief(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
