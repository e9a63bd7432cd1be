// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin && !windows

package udp

func dontFragment(uintptr, bool) {}
