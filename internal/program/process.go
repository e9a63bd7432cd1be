// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"
)

// A Process is a program that runs. One goroutine uses it, the one that serves; its Log anybody may.
type Process struct {
	Log *slog.Logger // never nil

	stdout  io.Writer
	signals <-chan os.Signal
}

// Print writes whole lines to standard output, for other programs to read. That nobody does is no error.
func (p *Process) Print(lines string) {
	if _, err := io.WriteString(p.stdout, lines); err != nil {
		p.Log.Warn("standard output is closed", slog.Any("error", err))
	}
}

// Wait blocks until a signal comes, or something is received from failed, which it returns.
func (p *Process) Wait(failed <-chan error) (signaled bool, err error) {
	select {
	case err := <-failed:
		return false, err
	case s := <-p.signals:
		p.Log.Info("signal", slog.String("signal", s.String()))
		return true, nil
	}
}

// Grace returns a context for a shutdown. It ends after the timeout, its cause then being late, or at the next signal, its
// cause then being cut. The caller must call stop.
func (p *Process) Grace(timeout time.Duration, late, cut error) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), timeout, late)
	ctx, end := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.signals:
			end(cut)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		end(nil)
		cancel()
	}
}
