// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"log/slog"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/pionx/logx"
)

// logEvery is the shortest time between two lines of one of the library's loggers (docs/OPERATIONS.md).
const logEvery = 10 * time.Second

// libraryLog is where the library writes its warnings and errors.
func libraryLog(log *slog.Logger) logx.Factory {
	return logx.Factory{Log: log, Message: "turn library message", Lines: 1, Period: logEvery, WarningsOnly: true}
}
