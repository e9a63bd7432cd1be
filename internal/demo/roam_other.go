// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !e2e || !linux

package main

import (
	"context"
	"runtime"
)

// roam says what is missing.
func (d *demo) roam(context.Context) error {
	if runtime.GOOS != "linux" {
		return skipped("demo: changing networks is shown with network namespaces, which only Linux has; nothing was done")
	}
	return skipped("demo: built without the tag e2e; make demo-mobility builds it right")
}
