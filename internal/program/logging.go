// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"io"
	"log/slog"
)

// Logging is what the flags --log-format, --log-level and --dev say.
type Logging struct {
	Format string // text or json; empty means json, with Dev text
	Level  string // debug, info, warn or error; empty means info, with Dev debug
	Dev    bool
}

// logger logs to w.
func (l Logging) logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if l.Dev {
		level = slog.LevelDebug
	}
	if l.Level != "" {
		_ = level.UnmarshalText([]byte(l.Level)) // one of the flag's enum
	}
	o := &slog.HandlerOptions{Level: level}
	if l.Format == "text" || l.Format == "" && l.Dev {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}
