// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package icex

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/logging"
)

// logBurst is the number of lines per second that one scope of pion's logging may write. pion warns about every bad
// packet that anybody sends it; unsampled, that would give strangers a way to fill a disk.
const logBurst = 20

// logFactory sends what pion logs to a slog.Logger, at debug level and sampled. A nil log discards, and formats nothing.
type logFactory struct{ log *slog.Logger }

func (f logFactory) NewLogger(scope string) logging.LeveledLogger {
	l := &pionLogger{}
	if f.log != nil {
		l.log = f.log.With(slog.String("scope", scope))
	}
	return l
}

// pionLogger is safe for concurrent use.
type pionLogger struct {
	log *slog.Logger // nil discards

	mu      sync.Mutex
	since   time.Time // start of the current second
	lines   int       // lines written in it
	skipped int       // lines left out since the last one written
}

// take reports whether a line may be written now and how many were left out before it.
func (l *pionLogger) take() (skipped int, ok bool) {
	if l.log == nil || !l.log.Enabled(context.Background(), slog.LevelDebug) {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.since) >= time.Second {
		l.since, l.lines = now, 0
	}
	if l.lines >= logBurst {
		l.skipped++
		return 0, false
	}
	l.lines++
	skipped, l.skipped = l.skipped, 0
	return skipped, true
}

func (l *pionLogger) emit(level, format string, args []any) {
	skipped, ok := l.take()
	if !ok {
		return
	}
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "pion",
		slog.String("level", level), slog.String("text", text), slog.Int("skipped", skipped))
}

func (l *pionLogger) Trace(string)                      {}
func (l *pionLogger) Tracef(string, ...any)             {}
func (l *pionLogger) Debug(msg string)                  { l.emit("debug", msg, nil) }
func (l *pionLogger) Debugf(format string, args ...any) { l.emit("debug", format, args) }
func (l *pionLogger) Info(msg string)                   { l.emit("info", msg, nil) }
func (l *pionLogger) Infof(format string, args ...any)  { l.emit("info", format, args) }
func (l *pionLogger) Warn(msg string)                   { l.emit("warn", msg, nil) }
func (l *pionLogger) Warnf(format string, args ...any)  { l.emit("warn", format, args) }
func (l *pionLogger) Error(msg string)                  { l.emit("error", msg, nil) }
func (l *pionLogger) Errorf(format string, args ...any) { l.emit("error", format, args) }
