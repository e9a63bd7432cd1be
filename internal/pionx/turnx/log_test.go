// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package turnx

import (
	"io"
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

func debugLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
