// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package tally keeps the books of one process that counts aloud to another: what was said, what was heard, how long there
// was silence, and what went wrong.
//
//	t := tally.New()
//	fmt.Fprintln(speaker, t.Say())        // 1, 2, 3 …
//	t.Hear(line)                          // each line that the hearer prints
//	t.Confirm()                           // the speaker knows that one more is there
//	err := t.Wait(ctx, tally.Settled)     // nil: all said is heard, once and in order, and known to be
//
// # Limitations
//
// It takes each line as soon as it is told of it: how long the hearer's output takes to be read is part of a gap.
package tally
