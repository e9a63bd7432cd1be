// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"testing"
	"time"
)

// RFC 9002 §5.3, §6.2.1.
func TestRTT(t *testing.T) {
	r := newRTT(333 * ms)
	if pto := r.pto(0); pto != 333*ms+4*166500*time.Microsecond {
		t.Errorf("initial probe timeout %v", pto)
	}
	if got := r.update(1, 100*ms, 25*ms); got != 100*ms {
		t.Errorf("the first sample is %v, want it as it is", got)
	}
	if r.smoothed != 100*ms || r.variation != 50*ms || r.min() != 100*ms {
		t.Errorf("after the first sample: %+v", r)
	}
	// The delay is not subtracted where that would go below the minimum.
	if got := r.update(2, 110*ms, 25*ms); got != 110*ms || r.smoothed != (7*100+110)*ms/8 {
		t.Errorf("sample %v, smoothed %v, want the delay not subtracted", got, r.smoothed)
	}
	before := r.smoothed
	if got, want := r.update(3, 125*ms, 25*ms), (7*before+100*ms)/8; got != 100*ms || r.smoothed != want {
		t.Errorf("sample %v, smoothed %v, want 100ms and %v: the delay subtracted", got, r.smoothed, want)
	}
}

// TestMinRTT: the least sample counts for ten seconds, then the least of the later ones.
func TestMinRTT(t *testing.T) {
	r := newRTT(333 * ms)
	type sample struct {
		at  time.Duration
		rtt time.Duration
	}
	var all []sample
	for i := range 600 {
		// Falls and rises, so that each of the candidates is needed.
		s := sample{time.Duration(i+1) * 100 * ms, time.Duration(40+(i*37)%23+i/10) * ms}
		if i == 100 {
			s.rtt = 20 * ms
		}
		all = append(all, s)
		r.update(s.at, s.rtt, 0)
		least := s.rtt
		for _, o := range all {
			if s.at-o.at <= minRTTWindow {
				least = min(least, o.rtt)
			}
		}
		// The algorithm is exact for the least and may be late, never early, in forgetting by a quarter of the window.
		if got := r.min(); got < least-5*ms || got > least+5*ms {
			t.Fatalf("at %v: least %v, want %v or close", s.at, got, least)
		}
	}
}
