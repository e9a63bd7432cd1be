// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package figures

import (
	"math"
	"slices"
)

// Median returns the middle of v, the mean of the two middle ones if their number is even, and NaN if there are none.
// It does not change v.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// Percentile returns the smallest of v that at least p percent of v do not exceed (the nearest rank), and NaN if there
// are none. It does not change v.
func Percentile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	rank := int(math.Ceil(p / 100 * float64(len(s))))
	return s[max(1, min(rank, len(s)))-1]
}

// Spread returns the distance between the least and the greatest of v, relative to its median: 0.1 means that the runs
// were up to 10 % apart.
func Spread(v []float64) float64 {
	m := Median(v)
	if len(v) < 2 || m == 0 {
		return 0
	}
	return (slices.Max(v) - slices.Min(v)) / math.Abs(m)
}

// Jain returns Jain's index of fairness of the shares v: 1 if all are equal, 1/len(v) if one has everything, and NaN if
// there are none or all are zero.
func Jain(v []float64) float64 {
	var sum, squares float64
	for _, x := range v {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(v)) * squares)
}

// Mean returns the mean of v, and NaN if there are none.
func Mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}
