// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rangeset

import (
	"slices"
	"sort"
)

// A Range holds the integers from Start up to, not including, End.
type Range struct{ Start, End uint64 }

// Len returns how many integers r holds.
func (r Range) Len() uint64 { return r.End - r.Start }

// A Set is a set of integers. Its ranges ascend, are not empty, do not overlap and do not touch. The zero value is the
// empty set. The slice may be read, and cut to s[:0] to empty the set while keeping its memory.
type Set []Range

// Add adds the integers from start up to, not including, end.
func (s *Set) Add(start, end uint64) {
	if start >= end {
		return
	}
	// The common case, a set that grows at its end.
	if n := len(*s); n == 0 || start > (*s)[n-1].End {
		*s = append(*s, Range{start, end})
		return
	}
	// Ranges i up to j touch the new one and are merged with it.
	i := s.search(start)
	j := i
	for ; j < len(*s) && (*s)[j].Start <= end; j++ {
		start, end = min(start, (*s)[j].Start), max(end, (*s)[j].End)
	}
	if i == j {
		*s = slices.Insert(*s, i, Range{start, end})
		return
	}
	(*s)[i] = Range{start, end}
	*s = slices.Delete(*s, i+1, j)
}

// Remove removes the integers from start up to, not including, end.
func (s *Set) Remove(start, end uint64) {
	if start >= end {
		return
	}
	i := s.search(start)
	for i < len(*s) && (*s)[i].Start < end {
		r := (*s)[i]
		switch {
		case r.End == start: // touches only
			i++
		case r.Start < start && r.End > end:
			(*s)[i].End = start
			*s = slices.Insert(*s, i+1, Range{end, r.End})
			return
		case r.Start < start:
			(*s)[i].End = start
			i++
		case r.End > end:
			(*s)[i].Start = end
			return
		default:
			*s = slices.Delete(*s, i, i+1)
		}
	}
}

// search returns the index of the first range that ends at or after v.
func (s *Set) search(v uint64) int {
	// Changes happen near the end more often than not.
	i := len(*s)
	for i > 0 && (*s)[i-1].End >= v {
		i--
	}
	return i
}

// Contains reports whether v is in the set.
func (s Set) Contains(v uint64) bool {
	i := s.at(v)
	return i >= 0 && v < s[i].End
}

// at returns the index of the last range that starts at or before v, or -1.
func (s Set) at(v uint64) int {
	if n := len(s); n > 0 && v >= s[n-1].Start {
		return n - 1 // most questions are about the end
	}
	return sort.Search(len(s), func(i int) bool { return s[i].Start > v }) - 1
}

// Covers reports whether all integers from start up to, not including, end are in the set.
func (s Set) Covers(start, end uint64) bool {
	if start >= end {
		return true
	}
	i := s.at(start)
	return i >= 0 && end <= s[i].End
}

// Count returns how many integers from start up to, not including, end are in the set.
func (s Set) Count(start, end uint64) uint64 {
	var n uint64
	for _, r := range s {
		if lo, hi := max(r.Start, start), min(r.End, end); lo < hi {
			n += hi - lo
		}
	}
	return n
}

// Size returns how many integers are in the set.
func (s Set) Size() uint64 {
	var n uint64
	for _, r := range s {
		n += r.Len()
	}
	return n
}

// Next returns the smallest integer from v on that is not in the set.
func (s Set) Next(v uint64) uint64 {
	if i := s.at(v); i >= 0 && v < s[i].End {
		return s[i].End
	}
	return v
}
