// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package netwatch

// namespace is the same everywhere: there is one network.
func namespace() string { return "" }
