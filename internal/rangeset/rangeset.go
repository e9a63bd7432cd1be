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
// empty set. The slice may be read, and cut to s[:0] to empty the set while keeping its memory, or most of it.
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
	if i < len(*s) && (*s)[i].End == start { // touches only
		i++
	}
	if i == len(*s) || (*s)[i].Start >= end {
		return
	}
	if r := &(*s)[i]; r.Start < start {
		if r.End > end {
			after := Range{end, r.End}
			r.End = start
			*s = slices.Insert(*s, i+1, after)
			return
		}
		r.End = start
		i++
	}
	j := i
	for j < len(*s) && (*s)[j].End <= end {
		j++
	}
	if j < len(*s) && (*s)[j].Start < end {
		(*s)[j].Start = end
	}
	if i == 0 && len(*s)-j >= large {
		*s = (*s)[j:] // a large set that is used up from its front is not moved each time
		return
	}
	*s = slices.Delete(*s, i, j)
}

// large is how many ranges are worth more than the memory in front of them.
const large = 64

// search returns the index of the first range that ends at or after v.
func (s *Set) search(v uint64) int {
	// Changes happen near the end more often than not.
	i := len(*s)
	for least := max(i-8, 0); i > least; i-- {
		if (*s)[i-1].End < v {
			return i
		}
	}
	return sort.Search(i, func(k int) bool { return (*s)[k].End >= v })
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

// Within returns the ranges of the set that hold any of the integers from start up to, not including, end. It aliases
// s.
func (s Set) Within(start, end uint64) Set {
	i := max(s.at(start), 0)
	if i < len(s) && s[i].End <= start {
		i++
	}
	j := i
	for j < len(s) && s[j].Start < end {
		j++
	}
	return s[i:j]
}

// Count returns how many integers from start up to, not including, end are in the set.
func (s Set) Count(start, end uint64) uint64 {
	var n uint64
	for _, r := range s.Within(start, end) {
		n += min(r.End, end) - max(r.Start, start)
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
