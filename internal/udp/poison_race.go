// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package udp

import "bytes"

// poisoned is no first byte of any protocol spoken here.
const poisoned = 0x5a

var rubbish = bytes.Repeat([]byte{poisoned}, MaxBatch)

// poison overwrites memory that nobody may use any more. It does so in one go: the race detector would look at each byte
// of a loop, which made tests spend most of their time here.
func poison(b []byte) { copy(b, rubbish) }
