// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A scenario is a change of the network and the longest gap that it may leave.
type scenario struct {
	name  string
	setup setup
	// run makes the change and returns what is measured, for what comes from the mover and from the other.
	run      func(r *rig) [2]time.Duration
	p50, p99 time.Duration
	clean    time.Duration // bound of the seeds of a perfect network
	say      string        // of the bounds, in the table
}

// TestMobility holds every change of the network to its bound, whichever side has dialled. In no case is a message lost or
// doubled, an error seen or a session established anew.
func TestMobility(t *testing.T) {
	for i, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for role := range roles {
				if testing.Short() && role != i%2 {
					continue
				}
				var took []time.Duration
				for seed := range uint64(seeds(2)) {
					s.setup.loss = -1
					run(t, s.setup, role, *first+seed, func(r *rig) {
						gaps := s.run(r)
						took = append(took, max(gaps[0], gaps[1]))
						if max(gaps[0], gaps[1]) > s.clean && r.seed%2 == 0 {
							r.t.Errorf("nothing came from the mover for %v, from the other for %v; want at most %v where nothing is lost", gaps[0], gaps[1], s.clean)
						}
						r.finish()
					})
				}
				slices.Sort(took)
				p50, p99, most := quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1)
				if len(took) >= 10 && p50 > s.p50 || p99 > s.p99 { // a median of two is none
					t.Errorf("%s: p50 %v, p99 %v, most %v; want at most %v and %v", roles[role], p50, p99, most, s.p50, s.p99)
				}
				say := s.say
				if say == "" {
					say = show(s.p99)
				}
				add("Moves", 2*i+role, fmt.Sprintf("%s, %s", s.name, roles[role]), say, show(p50), show(p99), show(most))
			}
		})
	}
}
