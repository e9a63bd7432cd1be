// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix && !windows

package udp

func noBroadcast(uintptr) {}
