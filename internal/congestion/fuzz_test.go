// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"math"
	"testing"
	"time"
)

// FuzzController drives every controller by any sequence of calls, sensible or not.
func FuzzController(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 5, 0, 5, 1, 40, 1, 80, 2, 3, 3, 9, 4, 0, 5, 3, 6, 200, 1, 1})
	f.Add([]byte{1, 255, 1, 0, 7, 255, 1, 255, 2, 255, 3, 0, 5, 2, 1, 128, 5, 1, 4, 4, 6, 0, 1, 7})
	f.Fuzz(func(t *testing.T, ops []byte) {
		for _, c := range []Controller{NewReno(1200), NewCUBIC(1200), NewWeir(1200), NewWeir(0), NewCUBIC(-1)} {
			drivenBy(t, c, ops)
		}
	})
}

func drivenBy(t *testing.T, c Controller, ops []byte) {
	now := epoch
	number, acked := uint64(0), uint64(0)
	inFlight, packet := 0, 1200
	c.SetMaxPacket(packet)
	for i := 0; i+1 < len(ops); i += 2 {
		op, v := ops[i]%9, int(ops[i+1])
		now = now.Add(time.Duration(v) * time.Duration(v) * 100 * time.Microsecond)
		switch op {
		case 0:
			for range v {
				inFlight += packet
				c.HandleSent(now, number, packet, inFlight)
				number++
			}
		case 1, 8:
			n := max(min(v, int(number)-int(acked)), 0) + int(op)/8*v // also more than was sent
			acked += uint64(n)
			prior := inFlight
			inFlight = max(inFlight-n*packet, 0)
			rtt := time.Duration(v*v) * 50 * time.Microsecond
			c.HandleAck(now, &Ack{
				Bytes: n * packet, Packets: n, Largest: acked, SentAt: now.Add(-rtt), RTT: rtt, MinRTT: rtt / 2, SmoothedRTT: rtt,
				InFlight: inFlight, PriorInFlight: prior, Limited: v%3 > 0, CE: v % 7 / 6,
				Rate: RateSample{Delivered: n * packet * v, Interval: rtt / 3, AppLimited: v%5 == 0, Lost: v},
			})
		case 2:
			c.HandleLoss(now, &Loss{
				Bytes: v * packet, Packets: v, Largest: acked, SentAt: now.Add(-time.Duration(v) * ms), InFlight: inFlight,
				Prior: inFlight + v*packet, LatestRTT: time.Duration(v) * ms,
			})
		case 3:
			c.HandleSpurious(now, now.Add(-time.Duration(v)*ms))
		case 4:
			c.HandlePersistentCongestion(now)
		case 5:
			c.SetDemand(now, Demand{TimeCritical: v&1 != 0, Yield: v&2 != 0})
		case 6:
			packet = 100 + 40*v
			c.SetMaxPacket(packet)
		case 7:
			now = now.Add(time.Duration(v) * time.Second)
		}
		st := c.State()
		if w := c.Window(); w < 2*packet || w > maxWindow {
			t.Fatalf("%s: window %d after operation %d (%d, %d), want from two packets of %d to %d", st.Name, w, i/2, op, v, packet, maxWindow)
		}
		r := c.PacingRate()
		if math.IsNaN(r) || math.IsInf(r, 0) || r < 0 || r == 0 && st.Name != "newreno" {
			t.Fatalf("%s: pacing rate %v after operation %d (%d, %d)", st.Name, r, i/2, op, v)
		}
		if math.IsNaN(st.Bandwidth) || math.IsInf(st.Bandwidth, 0) || st.Bandwidth < 0 || st.QueueDelay < 0 || st.Phase == "" {
			t.Fatalf("%s: state %+v after operation %d (%d, %d)", st.Name, st, i/2, op, v)
		}
	}
}
