// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package dtlsx

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		l := logFactory{log}.NewLogger("ice")
		for range 5 * logBurst {
			l.Warnf("bad packet from %s", "nowhere")
		}
		if got := strings.Count(out.String(), "\n"); got != logBurst {
			t.Fatalf("got %d lines in one second, want %d: a stranger's packets must not fill a log", got, logBurst)
		}
		time.Sleep(time.Second)
		l.Trace("never")
		l.Error("again")
		tail := out.String()[strings.LastIndex(strings.TrimSpace(out.String()), "\n")+1:]
		for _, want := range []string{"level=DEBUG", "scope=ice", "level=error", "text=again", "skipped=80"} {
			if !strings.Contains(tail, want) {
				t.Errorf("last line %q lacks %q", tail, want)
			}
		}
	})
}

// stringer fails the test when something formats it.
type stringer struct{ t *testing.T }

func (s stringer) String() string { s.t.Error("formatted although nobody reads it"); return "" }

func TestLogDiscardFormatsNothing(t *testing.T) {
	logFactory{}.NewLogger("x").Warnf("%s", stringer{t})
	logFactory{slog.New(slog.DiscardHandler)}.NewLogger("x").Errorf("%s", stringer{t})
}
