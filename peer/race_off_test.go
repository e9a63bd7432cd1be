// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package peer_test

// raceEnabled says that allocations cannot be counted: the race detector makes some.
const raceEnabled = false
