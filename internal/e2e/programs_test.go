// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// programs is the directory with what is tested, built from this tree.
var programs string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// run builds the programs and runs the tests.
func run(m *testing.M) (code int, err error) {
	programs, err = os.MkdirTemp("", "runnel-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(programs)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", programs+string(filepath.Separator),
		"../../cmd/rendezvous", "../../cmd/relay", "../../cmd/runnel", "../../examples/chat")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return m.Run(), nil
}

func program(name string) string { return filepath.Join(programs, name) }
