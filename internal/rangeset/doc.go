// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

// Package rangeset keeps sets of integers as sorted ranges: packet numbers received, bytes acknowledged, flows finished.
//
//	var s rangeset.Set
//	s.Add(0, 10)
//	s.Add(12, 15)
//	s.Contains(11) // false
//
// # Limitations
//
// Operations take time linear in the number of ranges, which suits sets of a few ranges that mostly change at one end.
// A caller that lets a peer make ranges must bound their number.
package rangeset
