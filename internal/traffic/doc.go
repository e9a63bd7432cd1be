// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package traffic is what a session carries while a test does things to its network: flows of numbered messages, and what
// became of each.
//
//	load := traffic.Start(t, ends, []*traffic.Flow{
//		{From: 0, Label: "ticks", Size: 100, Every: 20 * time.Millisecond},
//		{From: 1, Label: "bulk", Size: 16 << 10, Every: 40 * time.Millisecond},
//	})
//	start := time.Now()
//	// ...
//	gap := load.Gap(0, "ticks", start, time.Now())
//	load.Check() // every message was delivered once
//	load.End()
//
// # Limitations
//
// It is meant for virtual time: senders pace themselves by sleeping, and Check gives the last messages five seconds.
package traffic
