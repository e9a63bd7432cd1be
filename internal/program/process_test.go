// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var errLate, errCut = errors.New("late"), errors.New("cut")

func newProcess() (*Process, chan<- os.Signal, *bytes.Buffer) {
	signals, out := make(chan os.Signal, 2), new(bytes.Buffer)
	return &Process{Log: slog.New(slog.NewTextHandler(out, nil)), stdout: out, signals: signals}, signals, out
}

func TestWait(t *testing.T) {
	p, signals, out := newProcess()
	signals <- syscall.SIGTERM
	if signaled, err := p.Wait(nil); !signaled || err != nil {
		t.Errorf("after a signal: %v, %v", signaled, err)
	}
	if want := "signal=" + syscall.SIGTERM.String(); !strings.Contains(out.String(), want) {
		t.Errorf("log %q lacks %q", out, want)
	}
	failed := make(chan error, 1)
	failed <- errLate
	if signaled, err := p.Wait(failed); signaled || !errors.Is(err, errLate) {
		t.Errorf("after a failure: %v, %v", signaled, err)
	}
}

func TestGrace(t *testing.T) {
	for name, tt := range map[string]struct {
		signal bool
		want   error
		after  time.Duration
	}{
		"timeout": {false, errLate, time.Hour},
		"signal":  {true, errCut, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			signals := make(chan os.Signal)
			p := &Process{Log: slog.New(slog.DiscardHandler), signals: signals}
			begin := time.Now()
			ctx, stop := p.Grace(time.Hour, errLate, errCut)
			defer stop()
			time.Sleep(time.Minute)
			if ctx.Err() != nil {
				t.Fatalf("%s: over before its time: %v", name, context.Cause(ctx))
			}
			if tt.signal {
				signals <- syscall.SIGTERM
			}
			<-ctx.Done()
			if got := time.Since(begin); got != tt.after || !errors.Is(context.Cause(ctx), tt.want) {
				t.Errorf("%s: over after %v because of %v, want %v and %v", name, got, context.Cause(ctx), tt.after, tt.want)
			}
		})
	}
}

type closedWriter struct{}

func (closedWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestPrintToNobody(t *testing.T) {
	p, _, out := newProcess()
	p.Print("a line\n")
	if out.String() != "a line\n" {
		t.Errorf("printed %q", out)
	}
	p.stdout = closedWriter{}
	p.Print("another\n")
	if !strings.Contains(out.String(), "standard output is closed") {
		t.Errorf("log does not say that nobody reads: %s", out)
	}
}
