// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/logging"
)

// logEvery is the shortest time between two lines of one logger. pion writes a line per bad packet, so that anybody
// who can send packets could otherwise fill a disk.
const logEvery = 10 * time.Second

// logger passes pion's messages on: errors and warnings as slog.LevelDebug, because none of them is about our own
// work, sampled, and with the number of lines left out. Everything below a warning is discarded unformatted.
type logger struct {
	log   *slog.Logger
	scope string

	mu      sync.Mutex
	last    time.Time
	skipped int
}

type loggerFactory struct{ log *slog.Logger }

func newLoggerFactory(log *slog.Logger) *loggerFactory {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &loggerFactory{log}
}

// NewLogger implements logging.LoggerFactory.
func (f *loggerFactory) NewLogger(scope string) logging.LeveledLogger {
	return &logger{log: f.log, scope: scope}
}

func (l *logger) emit(format string, args ...any) {
	if !l.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	now := time.Now()
	l.mu.Lock()
	if !l.last.IsZero() && now.Sub(l.last) < logEvery {
		l.skipped++
		l.mu.Unlock()
		return
	}
	n := l.skipped
	l.last, l.skipped = now, 0
	l.mu.Unlock()
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "turn library message", slog.String("scope", l.scope),
		slog.String("text", fmt.Sprintf(format, args...)), slog.Int("skipped", n))
}

func (l *logger) Trace(string)              {}
func (l *logger) Tracef(string, ...any)     {}
func (l *logger) Debug(string)              {}
func (l *logger) Debugf(string, ...any)     {}
func (l *logger) Info(string)               {}
func (l *logger) Infof(string, ...any)      {}
func (l *logger) Warn(s string)             { l.emit("%s", s) }
func (l *logger) Warnf(f string, a ...any)  { l.emit(f, a...) }
func (l *logger) Error(s string)            { l.emit("%s", s) }
func (l *logger) Errorf(f string, a ...any) { l.emit(f, a...) }
