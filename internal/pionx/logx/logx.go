// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package logx

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/logging"
)

const (
	defaultMessage = "pion"
	defaultLines   = 20
	defaultPeriod  = time.Second
)

// A Factory makes the loggers that a library asks for, one per scope. It is a logging.LoggerFactory. The zero Factory
// discards everything. A Factory may be copied, and used by several goroutines.
type Factory struct {
	// Log gets the lines. Nil discards them.
	Log *slog.Logger

	// Message is the constant message of every line; what the library says is the attribute "text". Empty means "pion".
	Message string

	// Lines is how many lines each logger writes in a Period at most; zero or less means 20.
	Lines int

	// Period is counted from the first line in it; zero or less means a second.
	Period time.Duration

	// WarningsOnly discards what is below a warning, and leaves out the attribute "level", which then says little.
	WarningsOnly bool
}

// NewLogger returns a logger whose lines have the scope as an attribute. It is safe for concurrent use.
func (f Factory) NewLogger(scope string) logging.LeveledLogger {
	l := &logger{message: f.Message, limit: f.Lines, period: f.Period, warningsOnly: f.WarningsOnly}
	if f.Log != nil {
		l.log = f.Log.With(slog.String("scope", scope))
	}
	if l.message == "" {
		l.message = defaultMessage
	}
	if l.limit <= 0 {
		l.limit = defaultLines
	}
	if l.period <= 0 {
		l.period = defaultPeriod
	}
	return l
}

type logger struct {
	log          *slog.Logger // nil discards
	message      string
	limit        int
	period       time.Duration
	warningsOnly bool

	mu      sync.Mutex // guards the following
	since   time.Time  // start of the current period
	lines   int        // lines written in it
	skipped int        // lines left out since the last one written
}

// take reports whether a line may be written now and how many were left out before it.
func (l *logger) take() (skipped int, ok bool) {
	if l.log == nil || !l.log.Enabled(context.Background(), slog.LevelDebug) {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.since) >= l.period {
		l.since, l.lines = now, 0
	}
	if l.lines >= l.limit {
		l.skipped++
		return 0, false
	}
	l.lines++
	skipped, l.skipped = l.skipped, 0
	return skipped, true
}

func (l *logger) emit(level, format string, args []any) {
	skipped, ok := l.take()
	if !ok {
		return
	}
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	attrs := make([]slog.Attr, 0, 3)
	if !l.warningsOnly {
		attrs = append(attrs, slog.String("level", level))
	}
	attrs = append(attrs, slog.String("text", text), slog.Int("skipped", skipped))
	//nolint:sloglint // l.message is the constant of the one who made the factory
	l.log.LogAttrs(context.Background(), slog.LevelDebug, l.message, attrs...)
}

// minor writes what is below a warning.
func (l *logger) minor(level, format string, args []any) {
	if !l.warningsOnly {
		l.emit(level, format, args)
	}
}

func (l *logger) Trace(string)                      {}
func (l *logger) Tracef(string, ...any)             {}
func (l *logger) Debug(msg string)                  { l.minor("debug", msg, nil) }
func (l *logger) Debugf(format string, args ...any) { l.minor("debug", format, args) }
func (l *logger) Info(msg string)                   { l.minor("info", msg, nil) }
func (l *logger) Infof(format string, args ...any)  { l.minor("info", format, args) }
func (l *logger) Warn(msg string)                   { l.emit("warn", msg, nil) }
func (l *logger) Warnf(format string, args ...any)  { l.emit("warn", format, args) }
func (l *logger) Error(msg string)                  { l.emit("error", msg, nil) }
func (l *logger) Errorf(format string, args ...any) { l.emit("error", format, args) }
