// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package rangeset keeps sets of integers as sorted ranges: packet numbers received, bytes acknowledged, flows
// finished.
//
//	var s rangeset.Set
//	s.Add(0, 10)
//	s.Add(12, 15)
//	s.Contains(11) // false
//
// # Limitations
//
// A change moves the ranges behind it in memory, except that of a large set the front can be removed for nothing. Size
// looks at all ranges, everything else at those it is about. A caller that lets a peer make ranges must bound their
// number.
package rangeset
