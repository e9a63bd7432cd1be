// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rangeset

import (
	"math/rand/v2"
	"testing"
)

// TestAgainstModel compares random operations with an array of booleans.
func TestAgainstModel(t *testing.T) {
	const size = 60
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		var s Set
		var model [size]bool
		for range 60 {
			a, b := r.Uint64N(size), r.Uint64N(size+1)
			add := r.IntN(2) == 0
			if add {
				s.Add(a, b)
			} else {
				s.Remove(a, b)
			}
			for i := a; i < b; i++ {
				model[i] = add
			}
			check(t, s, model[:])
		}
	}
}

// TestLargeAgainstModel does so with many ranges, of which those at the front go first.
func TestLargeAgainstModel(t *testing.T) {
	const size = 1500
	r := rand.New(rand.NewPCG(1, 2))
	var s Set
	var model [size]bool
	for step := range 4000 {
		a := r.Uint64N(size)
		b := a + 1
		add := r.IntN(2) > 0
		switch {
		case step%1000 > 900: // from the front
			a, add = 0, false
			if len(s) > 0 {
				b = s[0].Start + 1 + r.Uint64N(4)
			}
		case r.IntN(100) == 0:
			b = a + r.Uint64N(20)
		}
		b = min(b, size)
		if add {
			s.Add(a, b)
		} else {
			s.Remove(a, b)
		}
		for i := a; i < b; i++ {
			model[i] = add
		}
		if step%100 == 0 || step%1000 > 900 {
			lo := r.IntN(size - 40)
			checkRanges(t, s, model[:])
			checkWithin(t, s, model[:], lo, lo+40)
			checkWithin(t, s, model[:], 0, 40)
		}
	}
	if len(s) < 2*large {
		t.Errorf("%d ranges at the end; the test wants many", len(s))
	}
}

func check(t *testing.T, s Set, model []bool) {
	t.Helper()
	checkRanges(t, s, model)
	checkWithin(t, s, model, 0, len(model))
}

// checkRanges compares s as a whole with a model.
func checkRanges(t *testing.T, s Set, model []bool) {
	t.Helper()
	for i, r := range s {
		if r.Start >= r.End || i > 0 && r.Start <= s[i-1].End {
			t.Fatalf("ranges %v are empty, out of order, overlapping or touching", s)
		}
	}
	var n uint64
	for i, want := range model {
		if want {
			n++
		}
		if got := s.Contains(uint64(i)); got != want {
			t.Fatalf("%v contains %d: %v, want %v", s, i, got, want)
		}
	}
	if got := s.Size(); got != n {
		t.Fatalf("size of %v = %d, want %d", s, got, n)
	}
}

// checkWithin compares what s says about parts of [lo, hi) with a model.
func checkWithin(t *testing.T, s Set, model []bool, lo, hi int) {
	t.Helper()
	for a := lo; a < hi; a++ {
		all, some := true, uint64(0)
		for b := a; b < hi; b++ {
			if s.Covers(uint64(a), uint64(b)) != all {
				t.Fatalf("%v covers [%d,%d): %v, want %v", s, a, b, !all, all)
			}
			if got := s.Count(uint64(a), uint64(b)); got != some {
				t.Fatalf("count of %v in [%d,%d) = %d, want %d", s, a, b, got, some)
			}
			if all = all && model[b]; model[b] {
				some++
			}
		}
	}
}

func TestAddAtEndDoesNotAllocate(t *testing.T) {
	s := make(Set, 0, 4)
	next := uint64(0)
	if n := testing.AllocsPerRun(100, func() {
		s.Add(next, next+1)
		next++
	}); n > 0 {
		t.Errorf("adding at the end allocates %v times, want 0", n)
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte{1, 5, 2, 3, 0, 40})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var s Set
		var model [64]bool
		for len(ops) >= 2 {
			a, b := ops[0]&0x3f, ops[1]&0x3f
			add := ops[0]&0x80 == 0
			if add {
				s.Add(uint64(a), uint64(b))
			} else {
				s.Remove(uint64(a), uint64(b))
			}
			for i := a; i < b; i++ {
				model[i] = add
			}
			ops = ops[2:]
		}
		check(t, s, model[:])
	})
}
