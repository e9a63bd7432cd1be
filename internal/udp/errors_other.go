// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix && !windows

package udp

import "syscall"

func temporary(no syscall.Errno) bool { return no.Temporary() }
