// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/traffic"
)

// tick is how often the flows send whose gaps are measured.
const tick = 20 * ms

// start starts the flows: ticks are messages of 100 bytes handed over as they arrive, bulk is 3 Mbit/s in order.
func (r *rig) start() {
	var flows []*traffic.Flow
	for end := range r.ends {
		flows = append(flows,
			&traffic.Flow{
				From: end, Label: "ticks", Size: 100, Every: tick,
				Options: flow.Options{Priority: flow.Urgent, Ordering: flow.Arrival},
			},
			&traffic.Flow{From: end, Label: "bulk", Size: 16 << 10, Every: 40 * ms})
	}
	for _, f := range flows {
		if r.light {
			f.Every *= 8
		}
		f.Delay = time.Duration(f.From) * f.Every / 2
	}
	r.load = traffic.Start(r.t, r.ends, flows)
}

// gaps returns, for the ticks from each end, the longest time in which nothing arrived, of those that began between start
// and end.
func (r *rig) gaps(start, end time.Time) (out [2]time.Duration) {
	for from := range out {
		out[from] = r.load.Gap(from, "ticks", start, end)
	}
	return out
}

// finish ends the traffic and sees to it that every message was delivered once, and no error was seen.
func (r *rig) finish() {
	r.t.Helper()
	r.load.Check()
	for i, ep := range r.eps {
		if n := ep.Stats().Sessions; n != 1 {
			r.t.Errorf("end %d: %d sessions, want the one there was", i, n)
		}
	}
	r.load.End()
	r.wg.Wait()
}
