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
	if pto := r.pto(); pto != 333*ms+4*166500*time.Microsecond+25*ms {
		t.Errorf("initial probe timeout %v", pto)
	}
	if got := r.update(1, 100*ms, 25*ms); got != 100*ms {
		t.Errorf("the first sample is %v, want it as it is", got)
	}
	if r.smoothed != 100*ms || r.variation != 50*ms || r.min() != 100*ms {
		t.Errorf("after the first sample: %+v", r)
	}
	// The delay is subtracted, but not below the minimum.
	if got := r.update(2, 110*ms, 25*ms); got != 100*ms || r.smoothed != 100*ms {
		t.Errorf("sample %v, smoothed %v, want the delay subtracted down to the least", got, r.smoothed)
	}
	if got := r.update(3, 135*ms, 25*ms); got != 110*ms || r.smoothed != (7*100+110)*ms/8 {
		t.Errorf("sample %v, smoothed %v, want the delay subtracted", got, r.smoothed)
	}
}

// TestDelayedAcks: the delay of acknowledgements is not taken for that of the path when the samples without it are long ago,
// a longer path is noticed, and the peer cannot talk the least sample down.
func TestDelayedAcks(t *testing.T) {
	r := newRTT(333 * ms)
	now := instant(1)
	for range 1000 {
		now += 100 * ms
		r.update(now, 25*ms, 5*ms)
		if now == 100*ms+1 {
			r.update(now, 20*ms, 0)
		}
	}
	if r.min() != 20*ms || r.smoothed > 20*ms+1 {
		t.Errorf("least %v, smoothed %v, want 20ms and 20ms", r.min(), r.smoothed)
	}
	for range 200 {
		now += 100 * ms
		r.update(now, 45*ms, 5*ms)
	}
	if r.min() != 40*ms || r.smoothed < 39*ms || r.smoothed > 40*ms {
		t.Errorf("least %v, smoothed %v on the longer path, want 40ms and 40ms", r.min(), r.smoothed)
	}
	for range 200 {
		now += 100 * ms
		r.update(now, 50*ms, 25*ms)
	}
	if r.min() != 40*ms || r.smoothed < 39*ms {
		t.Errorf("least %v, smoothed %v when the peer exaggerates, want no less than was measured", r.min(), r.smoothed)
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
