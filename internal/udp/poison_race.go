// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package udp

// poisoned is no first byte of any protocol spoken here.
const poisoned = 0x5a

// poison overwrites memory that nobody may use any more.
func poison(b []byte) {
	for i := range b {
		b[i] = poisoned
	}
}
