// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"testing"
	"time"
)

// BenchmarkHandleAck is what sending two packets and one acknowledgement of them cost.
func BenchmarkHandleAck(b *testing.B) {
	for _, make := range []func(int) Controller{NewReno, NewCUBIC, NewWeir} {
		c := make(1200)
		b.Run("controller="+c.State().Name, func(b *testing.B) {
			b.ReportAllocs()
			now, number := epoch, uint64(0)
			a := Ack{
				Bytes: 2400, Packets: 2, RTT: 40 * ms, MinRTT: 40 * ms, SmoothedRTT: 41 * ms, InFlight: 97_600,
				PriorInFlight: 100_000, Limited: true, Rate: RateSample{Delivered: 100_000, Interval: 40 * ms},
			}
			for b.Loop() {
				now = now.Add(time.Millisecond)
				c.HandleSent(now, number, 1200, 98_800)
				c.HandleSent(now, number+1, 1200, 100_000)
				a.Largest, a.SentAt = number, now.Add(-40*ms)
				a.RTT = 40*ms + time.Duration(number%16)*ms
				c.HandleAck(now, &a)
				if c.Window() == 0 || c.PacingRate() < 0 {
					b.Fatal("no window")
				}
				number += 2
			}
		})
	}
}

// TestNoAllocations: no call allocates.
func TestNoAllocations(t *testing.T) {
	for _, make := range []func(int) Controller{NewReno, NewCUBIC, NewWeir} {
		c := make(1200)
		now, number := epoch, uint64(0)
		a := Ack{Bytes: 2400, Packets: 2, PriorInFlight: 12_000, Limited: true}
		l := Loss{Bytes: 1200, Packets: 1}
		if n := testing.AllocsPerRun(500, func() {
			now = now.Add(ms)
			number += 2
			a.Largest, a.SentAt, a.RTT, a.CE = number, now, time.Duration(number%50)*ms, int(number%100/98)
			l.SentAt = now
			c.HandleSent(now, number, 1200, 12_000)
			c.HandleLoss(now, &l)
			c.HandleAck(now, &a)
			c.HandleSpurious(now, now)
			c.SetDemand(now, Demand{Yield: number%3 == 0})
			_ = c.State()
		}); n > 0 {
			t.Errorf("%s: %v allocations per acknowledgement", c.State().Name, n)
		}
	}
}
