// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"

	"github.com/seed-98f0d4c2/runnel/internal/netwatch"
)

// osMonitor watches the operating system's network; all endpoints of a process share what does. Whoever has it closes it.
func osMonitor(log *slog.Logger) (*netwatch.Watcher, error) { return netwatch.New(log) }
