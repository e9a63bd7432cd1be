// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package udp

// readable is nil: there is no cheap way to know.
var readable func(fd uintptr) bool
