// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := Median(c.v); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.v, got, c.want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("Median of nothing = %v, want NaN: a missing run must not look like a measured zero", got)
	}
	v := []float64{2, 1}
	Median(v)
	if v[0] != 2 {
		t.Error("Median sorted its argument, which callers keep in order of time")
	}
}

func TestPercentile(t *testing.T) {
	var v []float64
	for i := 100; i > 0; i-- {
		v = append(v, float64(i))
	}
	for _, c := range []struct{ p, want float64 }{{50, 50}, {99, 99}, {100, 100}, {0, 1}, {99.5, 100}} {
		if got := Percentile(v, c.p); got != c.want {
			t.Errorf("Percentile(1…100, %v) = %v, want %v", c.p, got, c.want)
		}
	}
	if got := Percentile([]float64{7}, 99); got != 7 {
		t.Errorf("Percentile of one sample = %v, want it", got)
	}
	if got := Percentile(nil, 50); !math.IsNaN(got) {
		t.Errorf("Percentile of nothing = %v, want NaN", got)
	}
}

func TestJain(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{
		{[]float64{5, 5}, 1},
		{[]float64{1, 0}, 0.5},
		{[]float64{3, 1}, 0.8},
	} {
		if got := Jain(c.v); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("Jain(%v) = %v, want %v", c.v, got, c.want)
		}
	}
}

func TestSpread(t *testing.T) {
	if got := Spread([]float64{90, 100, 110}); math.Abs(got-0.2) > 1e-12 {
		t.Errorf("Spread(90, 100, 110) = %v, want 0.2", got)
	}
	if got := Spread([]float64{5}); got != 0 {
		t.Errorf("Spread of one run = %v, want 0", got)
	}
}
