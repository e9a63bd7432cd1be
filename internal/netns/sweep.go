// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package netns

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// prefix begins the name of every namespace made here. After it comes the ID of the process that made it.
const prefix = "runnel-"

// sweep deletes the namespaces of processes that are gone.
func sweep(tb TB) {
	tb.Helper()
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		return // nobody has ever made one
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), prefix)
		number, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if !ours || err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		endProcesses(e.Name())
		if out, err := execute("", "ip", "netns", "delete", e.Name()); err != nil {
			tb.Logf("netns: %s, left by a dead process, stays: %v\n%s", e.Name(), err, out)
		}
	}
}

// endProcesses ends what runs inside a namespace of ours.
func endProcesses(name string) {
	out, err := execute("", "ip", "netns", "pids", name)
	if err != nil {
		return
	}
	for field := range strings.FieldsSeq(out) {
		// Not this process: a thread of it is inside for as long as Host.Do runs.
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
