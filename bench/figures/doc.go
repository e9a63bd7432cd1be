// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package figures makes single numbers out of many:
//
//	figures.Median(runs)            // of a few runs
//	figures.Percentile(samples, 99) // of many samples
//	figures.Jain(shares)            // how evenly something was shared, 1 being evenly
//
// # Limitations
//
// No confidence intervals: with three runs there is nothing to be confident about. Spread says how far apart they were.
package figures
