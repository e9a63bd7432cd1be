// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package flow

// poison does nothing without the race detector.
func poison([]byte) {}
