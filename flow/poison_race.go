// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package flow

// poison overwrites memory that nobody may use any more.
func poison(b []byte) {
	const poisoned = 0xdb
	b[0] = poisoned
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}
