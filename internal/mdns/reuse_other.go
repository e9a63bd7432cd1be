// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !windows && (!unix || solaris || aix)

package mdns

import "syscall"

// reuse does nothing here: one program of the host has the port.
func reuse(_, _ string, _ syscall.RawConn) error { return nil }
