// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package logx

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
)

var _ logging.LoggerFactory = Factory{}

func debugLogger(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lastLine is what the buffer ends with.
func lastLine(out *bytes.Buffer) string {
	s := strings.TrimSpace(out.String())
	return s[strings.LastIndex(s, "\n")+1:]
}

func TestSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := Factory{Log: debugLogger(&out)}.NewLogger("ice")
		for range 5 * defaultLines {
			l.Warnf("bad packet from %s", "nowhere")
		}
		if got := strings.Count(out.String(), "\n"); got != defaultLines {
			t.Fatalf("got %d lines in one second, want %d: a stranger's packets must not fill a log", got, defaultLines)
		}
		time.Sleep(defaultPeriod)
		l.Trace("never")
		l.Error("again")
		for _, want := range []string{"level=DEBUG", "msg=pion", "scope=ice", "level=error", "text=again", "skipped=80"} {
			if tail := lastLine(&out); !strings.Contains(tail, want) {
				t.Errorf("last line %q lacks %q", tail, want)
			}
		}
	})
}

func TestSampledAsTheFactorySays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := Factory{Log: debugLogger(&out), Message: "library message", Lines: 1, Period: 10 * time.Second}.NewLogger("x")
		for range 10000 {
			l.Errorf("bad packet from %s", "somewhere")
		}
		time.Sleep(10*time.Second - 1)
		l.Error("too early")
		time.Sleep(time.Nanosecond)
		l.Error("one more")
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want 2: one for each 10 s:\n%s", n, out.String())
		}
		for _, want := range []string{`msg="library message"`, `text="one more"`, "skipped=10000"} {
			if tail := lastLine(&out); !strings.Contains(tail, want) {
				t.Errorf("last line %q lacks %q", tail, want)
			}
		}
	})
}

func TestWarningsOnly(t *testing.T) {
	for _, only := range []bool{false, true} {
		var out bytes.Buffer
		l := Factory{Log: debugLogger(&out), WarningsOnly: only}.NewLogger("x")
		l.Debug("minor")
		l.Debugf("%s", "minor")
		l.Info("minor")
		l.Infof("%s", "minor")
		if got := strings.Count(out.String(), "text=minor"); only && got != 0 || !only && got != 4 {
			t.Errorf("WarningsOnly %v: %d of 4 lines below a warning:\n%s", only, got, out.String())
		}
		out.Reset()
		l.Warn("major 100%")
		l.Warnf("%s", "major 100%")
		l.Error("major 100%")
		l.Errorf("%s", "major 100%")
		if got := strings.Count(out.String(), `text="major 100%"`); got != 4 {
			t.Errorf("WarningsOnly %v: %d of 4 warnings and errors:\n%s", only, got, out.String())
		}
		if got := strings.Contains(out.String(), "level=warn"); got == only {
			t.Errorf("WarningsOnly %v: says pion's level: %v, want %v:\n%s", only, got, !only, out.String())
		}
	}
}

// stringer fails the test when something formats it.
type stringer struct{ t *testing.T }

func (s stringer) String() string { s.t.Error("formatted although nobody reads it"); return "" }

func TestDiscardFormatsNothing(t *testing.T) {
	var out bytes.Buffer
	Factory{}.NewLogger("x").Warnf("%s", stringer{t})
	Factory{Log: slog.New(slog.DiscardHandler)}.NewLogger("x").Errorf("%s", stringer{t})
	Factory{Log: debugLogger(&out), WarningsOnly: true}.NewLogger("x").Infof("%s", stringer{t})
	if out.Len() > 0 {
		t.Errorf("written although it is below a warning: %s", out.String())
	}
}
