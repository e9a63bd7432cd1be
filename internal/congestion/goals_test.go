// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package congestion

import (
	"fmt"
	"testing"
	"time"
)

// These tests hold the default controller to its goals, on the link most of them speak of: 20 Mbit/s, 20 ms one way, a
// drop-tail queue of 100 ms. Run with -v for the figures, which docs/decisions/0005 quotes.

const ms = time.Millisecond

func homeLink() simLink { return simLink{rate: 20e6, buffer: 250_000, delay: 20 * ms} }

// sloppy is a sender like a kernel's TCP: CUBIC without pacing.
var sloppy = senderOptions{unpaced: true}

// seeds runs f with several seeds at a time.
func seeds(t *testing.T, n uint64, f func(t *testing.T, seed uint64)) {
	for seed := uint64(1); seed <= n; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			f(t, seed)
		})
	}
}

// wire returns the part of the link's rate that was used from the beginning until now.
func (s *sim) wire(rate float64) float64 { return float64(s.link.served) * 8 / s.now.Seconds() / rate }

func atLeast[T int | float64 | time.Duration](t *testing.T, what string, got, want T) {
	t.Helper()
	if got < want {
		t.Errorf("%s: got %v, want at least %v", what, got, want)
	}
}

func atMost[T int | float64 | time.Duration](t *testing.T, what string, got, want T) {
	t.Helper()
	if got > want {
		t.Errorf("%s: got %v, want at most %v", what, got, want)
	}
}

// TestVoiceBesideBulk: voice in the same session as a bulk flow stays near the delay of the empty path, and together
// they use the link, whatever part of it gets lost.
func TestVoiceBesideBulk(t *testing.T) {
	for _, test := range []struct{ loss, session float64 }{{0, 0.95}, {0.01, 0.93}, {0.05, 0.87}} {
		t.Run(fmt.Sprintf("loss=%v", test.loss), func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, seed uint64) {
				l := homeLink()
				l.loss = test.loss
				s := newSim(seed, l)
				f := s.add(NewWeir(simPacket), senderOptions{voice: true, demand: Demand{TimeCritical: true}})
				s.run(20 * time.Second)
				p50, p99 := quantile(f.voiceDelays, 0.5), quantile(f.voiceDelays, 0.99)
				got := f.mbps(0, s.now) / 20
				t.Logf("voice p50 %v p99 %v, queue p99 %v max %v, session %.3f, wire %.3f of the link",
					p50, p99, s.link.queueDelay(0.99, 0, s.now), s.link.queueDelay(1, 0, s.now), got, s.wire(20e6))
				atMost(t, "median one-way delay of voice", p50, 25*ms)
				atMost(t, "99th percentile of it", p99, 45*ms)
				atMost(t, "99th percentile of the queueing delay, startup included", s.link.queueDelay(0.99, 0, s.now), 15*ms)
				atLeast(t, "delivered, of the link", got, test.session)
			})
		})
	}
}

// TestBulkAlone: a bulk flow uses the link, whatever part of it gets lost.
func TestBulkAlone(t *testing.T) {
	for _, test := range []struct{ loss, wire, got float64 }{{0, 0.965, 0.96}, {0.01, 0.96, 0.94}, {0.05, 0.92, 0.87}} {
		t.Run(fmt.Sprintf("loss=%v", test.loss), func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, seed uint64) {
				l := homeLink()
				l.loss = test.loss
				s := newSim(seed, l)
				f := s.add(NewWeir(simPacket), senderOptions{})
				s.run(20 * time.Second)
				got := f.mbps(0, s.now) / 20
				t.Logf("delivered %.3f, wire %.3f of the link, queue p50 %v p95 %v", got, s.wire(20e6),
					s.link.queueDelay(0.5, 0, s.now), s.link.queueDelay(0.95, 0, s.now))
				atLeast(t, "on the wire, of the link", s.wire(20e6), test.wire)
				atLeast(t, "delivered, of the link", got, test.got)
			})
		})
	}
}

// TestAgainstCUBIC: neither takes more than twice what it leaves to the other, whoever comes first and whenever. The
// link carries as many packets a second as one of 20 Mbit/s does with the kernel's packets of 1500 bytes.
func TestAgainstCUBIC(t *testing.T) {
	gaps := []time.Duration{300 * ms, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 7 * time.Second, 10 * time.Second}
	for _, first := range []string{"weir", "cubic"} {
		t.Run(first+" first", func(t *testing.T) {
			seeds(t, uint64(len(gaps)), func(t *testing.T, seed uint64) {
				gap := gaps[seed-1] + time.Duration(seed)*37*ms
				var ours, theirs time.Duration
				if first == "weir" {
					theirs = gap
				} else {
					ours = gap
				}
				s := newSim(seed, simLink{rate: 16e6, buffer: 200_000, delay: 20 * ms})
				f := s.add(NewWeir(simPacket), senderOptions{start: ours})
				g := s.add(newKernelCUBIC(), senderOptions{start: theirs, unpaced: true})
				s.run(gap + 60*time.Second)
				from := gap + 10*time.Second
				ratio := f.mbps(from, s.now) / g.mbps(from, s.now)
				t.Logf("after %v: weir %.2f, cubic %.2f Mbit/s: %.2f", gap, f.mbps(from, s.now), g.mbps(from, s.now), ratio)
				atLeast(t, "weir's rate by CUBIC's", ratio, 0.5)
				atMost(t, "weir's rate by CUBIC's", ratio, 1.7)
			})
		})
	}
}

// TestCompetitorLeaves: when the one that filled the queue has gone, the queue goes too, also if two of us are left that
// could each take the other for it.
func TestCompetitorLeaves(t *testing.T) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprintf("weirs=%d", n), func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, seed uint64) {
				s := newSim(seed, homeLink())
				for i := range n {
					s.add(NewWeir(simPacket), senderOptions{start: time.Duration(i) * time.Duration(seed) * 100 * ms})
				}
				o := sloppy
				o.start, o.stop = 3*time.Second, 15*time.Second+time.Duration(seed)*300*ms
				s.add(NewCUBIC(simPacket), o)
				s.run(40 * time.Second)
				from, total := 28*time.Second, 0.0
				for _, f := range s.senders {
					total += f.mbps(from, s.now)
				}
				q := s.link.queueDelay(0.95, from, s.now)
				t.Logf("queue p95 %v, rate %.2f", q, total)
				atMost(t, "queueing delay twelve seconds after CUBIC has gone", q, 20*ms)
				atLeast(t, "Mbit/s then", total, 19)
			})
		})
	}
}

// TestVoiceBesideOthersBulk: somebody else's bulk flow with the same controller does not make voice wait either.
func TestVoiceBesideOthersBulk(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		s := newSim(seed, homeLink())
		f := s.add(NewWeir(simPacket), senderOptions{voice: true, demand: Demand{TimeCritical: true}})
		g := s.add(NewWeir(simPacket), senderOptions{start: 3 * time.Second})
		s.run(25 * time.Second)
		rates := []float64{f.mbps(6*time.Second, s.now), g.mbps(6*time.Second, s.now)}
		p99 := quantile(f.voiceDelays, 0.99)
		t.Logf("voice p50 %v p99 %v, %.2f Mbit/s", quantile(f.voiceDelays, 0.5), p99, rates)
		atMost(t, "99th percentile of the one-way delay of voice", p99, 45*ms)
		atLeast(t, "Jain's index", jain(rates), 0.95)
	})
}

// TestVoiceBesideCUBIC: a session with voice keeps its share when somebody else fills the queue.
func TestVoiceBesideCUBIC(t *testing.T) {
	seeds(t, 2, func(t *testing.T, seed uint64) {
		s := newSim(seed, homeLink())
		f := s.add(NewWeir(simPacket), senderOptions{voice: true, demand: Demand{TimeCritical: true}})
		o := sloppy
		o.start = 5 * time.Second
		g := s.add(NewCUBIC(simPacket), o)
		s.run(40 * time.Second)
		t.Logf("weir %.2f, cubic %.2f Mbit/s", f.mbps(6*time.Second, s.now), g.mbps(6*time.Second, s.now))
		atLeast(t, "Mbit/s", f.mbps(6*time.Second, s.now), 5)
	})
}

// TestLongerPath: packets take a longer path from some moment on, which looks like a queue that does not empty.
func TestLongerPath(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		s := newSim(seed, homeLink())
		f := s.add(NewWeir(simPacket), senderOptions{})
		s.run(5*time.Second + time.Duration(seed)*300*ms)
		s.link.delay += 10 * ms
		s.run(35 * time.Second)
		from := 20 * time.Second
		q := s.link.queueDelay(0.95, from, s.now)
		t.Logf("%.2f Mbit/s from the change on, then %.2f with queue p95 %v", f.mbps(6*time.Second, from), f.mbps(from, s.now), q)
		atLeast(t, "Mbit/s in the fifteen seconds after the change", f.mbps(6*time.Second, from), 16)
		atLeast(t, "Mbit/s after that", f.mbps(from, s.now), 18.5)
		atMost(t, "queueing delay then", q, 20*ms)
	})
}

// jain is Jain's index of fairness.
func jain(rates []float64) float64 {
	var sum, squares float64
	for _, r := range rates {
		sum += r
		squares += r * r
	}
	return sum * sum / squares / float64(len(rates))
}

// TestAmongEachOther: several share fairly, whenever they come, and keep the queue short.
func TestAmongEachOther(t *testing.T) {
	for _, test := range []struct {
		n    int
		gap  time.Duration
		jain float64
	}{{2, 0, 0.95}, {2, 10 * time.Second, 0.95}, {5, 0, 0.9}, {5, 300 * ms, 0.9}, {5, 3 * time.Second, 0.9}} {
		t.Run(fmt.Sprintf("n=%d gap=%v", test.n, test.gap), func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, seed uint64) {
				s := newSim(seed, homeLink())
				for i := range test.n {
					s.add(NewWeir(simPacket), senderOptions{start: time.Duration(i)*test.gap + time.Duration(seed*uint64(i))*7*ms})
				}
				from := time.Duration(test.n-1)*test.gap + time.Second
				s.run(from + 25*time.Second)
				var rates []float64
				for _, f := range s.senders {
					rates = append(rates, f.mbps(from, s.now))
				}
				q := s.link.queueDelay(0.95, from, s.now)
				t.Logf("jain %.3f %.2f, queue p95 %v", jain(rates), rates, q)
				atLeast(t, "Jain's index", jain(rates), test.jain)
				atMost(t, "95th percentile of the queueing delay", q, 25*ms)
			})
		})
	}
}

// TestUnequalPaths: neither the shorter nor the longer path starves.
func TestUnequalPaths(t *testing.T) {
	for _, far := range []time.Duration{-15 * ms, 40 * ms} {
		t.Run(fmt.Sprintf("rtt=%v", 40*ms+far), func(t *testing.T) {
			seeds(t, 2, func(t *testing.T, seed uint64) {
				s := newSim(seed, homeLink())
				f := s.add(NewWeir(simPacket), senderOptions{})
				g := s.add(NewWeir(simPacket), senderOptions{far: far})
				s.run(30 * time.Second)
				ratio := g.mbps(5*time.Second, s.now) / f.mbps(5*time.Second, s.now)
				t.Logf("by the one of 40 ms: %.2f, queue p95 %v", ratio, s.link.queueDelay(0.95, 5*time.Second, s.now))
				atLeast(t, "its rate by that of the one of 40 ms", ratio, 0.33)
				atMost(t, "its rate by that of the one of 40 ms", ratio, 3)
				atMost(t, "95th percentile of the queueing delay", s.link.queueDelay(0.95, 5*time.Second, s.now), 25*ms)
			})
		})
	}
}

// TestCapacityStep: the link becomes four times slower and then as fast as before.
func TestCapacityStep(t *testing.T) {
	for _, critical := range []bool{false, true} {
		t.Run(fmt.Sprintf("timecritical=%v", critical), func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, seed uint64) {
				drop, back := 5*time.Second+time.Duration(seed)*113*ms, 12*time.Second
				l := homeLink()
				l.steps = []rateStep{{drop, 5e6}, {back, 20e6}}
				s := newSim(seed, l)
				f := s.add(NewWeir(simPacket), senderOptions{voice: critical, demand: Demand{TimeCritical: critical}})
				s.run(20 * time.Second)
				after := s.link.queueDelay(0.95, drop+time.Second, back)
				t.Logf("queue p95 within the first second %v, after it %v; rate low %.2f, from 1 s after the return %.2f Mbit/s",
					s.link.queueDelay(0.95, drop, drop+time.Second), after, f.mbps(drop+time.Second, back),
					f.mbps(back+time.Second, back+2*time.Second))
				atMost(t, "queueing delay from one second after the drop", after, 30*ms)
				atLeast(t, "Mbit/s while the link is slow", f.mbps(drop+time.Second, back), 4.4)
				atLeast(t, "Mbit/s three seconds after the return", f.mbps(back+3*time.Second, back+5*time.Second), 18.5)
			})
		})
	}
}

// TestYield: asked to yield, a flow leaves the path to others.
func TestYield(t *testing.T) {
	t.Run("to voice", func(t *testing.T) {
		seeds(t, 3, func(t *testing.T, seed uint64) {
			s := newSim(seed, homeLink())
			f := s.add(NewWeir(simPacket), senderOptions{voiceOnly: true, demand: Demand{TimeCritical: true}})
			g := s.add(NewWeir(simPacket), senderOptions{start: time.Second})
			s.at(5*time.Second, evDemand, g.id, 2, 0)
			f.voiceFrom = 6 * time.Second
			s.run(20 * time.Second)
			p99 := quantile(f.voiceDelays, 0.99)
			t.Logf("voice p50 %v p99 %v beside %.2f Mbit/s", quantile(f.voiceDelays, 0.5), p99, g.mbps(6*time.Second, s.now))
			atMost(t, "99th percentile of the delay of voice", p99, 25*ms)
			atLeast(t, "Mbit/s of the yielding flow, for which there is room", g.mbps(6*time.Second, s.now), 12)
		})
	})
	t.Run("to a session", func(t *testing.T) {
		seeds(t, 3, func(t *testing.T, seed uint64) {
			s := newSim(seed, homeLink())
			f := s.add(NewWeir(simPacket), senderOptions{voice: true, demand: Demand{TimeCritical: true}})
			g := s.add(NewWeir(simPacket), senderOptions{})
			s.at(5*time.Second, evDemand, g.id, 2, 0)
			s.at(15*time.Second, evDemand, g.id, 0, 0)
			s.run(25 * time.Second)
			during := g.mbps(6*time.Second, 15*time.Second)
			t.Logf("yielding %.2f beside %.2f, before %.2f, after %.2f Mbit/s", during, f.mbps(6*time.Second, 15*time.Second),
				g.mbps(2*time.Second, 5*time.Second), g.mbps(20*time.Second, 25*time.Second))
			atMost(t, "Mbit/s while yielding", during, 6)
			atLeast(t, "Mbit/s while yielding, which is not starving", during, 0.3)
			atLeast(t, "Mbit/s five seconds after yielding", g.mbps(20*time.Second, 25*time.Second), 7)
		})
	})
}

// TestOtherPaths: paths unlike the home link.
func TestOtherPaths(t *testing.T) {
	for _, test := range []struct {
		name  string
		link  simLink
		d     time.Duration
		share float64       // of the link's rate delivered, at least
		queue time.Duration // 95th percentile, at most
		lost  float64       // of the packets, at most
	}{
		{"100 Mbit/s, 10 ms", simLink{rate: 100e6, buffer: 1_250_000, delay: 5 * ms}, 4 * time.Second, 0.93, 10 * ms, 0.001},
		{"1 Mbit/s, 100 ms", simLink{rate: 1e6, buffer: 50_000, delay: 50 * ms}, 30 * time.Second, 0.9, 60 * ms, 0.01},
		{"Wi-Fi", simLink{rate: 50e6, buffer: 500_000, delay: 3 * ms, jitter: 5 * ms}, 5 * time.Second, 0.85, 20 * ms, 0.001},
		{"satellite", simLink{rate: 20e6, buffer: 750_000, delay: 150 * ms, loss: 0.01}, 30 * time.Second, 0.8, 80 * ms, 0.02},
		{"policer", simLink{rate: 20e6, buffer: 10_000, delay: 20 * ms, police: true}, 20 * time.Second, 0.75, 0, 0.06},
		{"shallow buffer", simLink{rate: 20e6, buffer: 10_000, delay: 20 * ms}, 20 * time.Second, 0.9, 5 * ms, 0.04},
		{"bursts of acks", simLink{rate: 20e6, buffer: 250_000, delay: 20 * ms, ackGap: 20 * ms}, 10 * time.Second, 0.9, 40 * ms, 0.001},
		{"marking queue", simLink{rate: 20e6, buffer: 250_000, delay: 20 * ms, mark: 10_000}, 10 * time.Second, 0.9, 10 * ms, 0.001},
		{"loopback", simLink{rate: 5e9, buffer: 4_000_000, delay: 25 * time.Microsecond}, 200 * ms, 0.9, 8 * ms, 0.01},
	} {
		t.Run(test.name, func(t *testing.T) {
			seeds(t, 2, func(t *testing.T, seed uint64) {
				s := newSim(seed, test.link)
				f := s.add(NewWeir(simPacket), senderOptions{start: time.Duration(seed) * 300 * time.Microsecond})
				s.run(test.d)
				share := float64(f.recv.got) * 8 / s.now.Seconds() / test.link.rate
				lost := float64(f.lostN) / float64(f.sent)
				q := s.link.queueDelay(0.95, 0, s.now)
				t.Logf("delivered %.3f of the link, queue p95 %v, lost %.4f, %s", share, q, lost, f.cc.State().Phase)
				atLeast(t, "delivered, of the link", share, test.share)
				atMost(t, "95th percentile of the queueing delay", q, test.queue)
				atMost(t, "lost, of the packets", lost, test.lost)
			})
		})
	}
}

// TestBurstAfterLittle: an application that sent little for long suddenly sends all it can, and nothing gets lost.
func TestBurstAfterLittle(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		s := newSim(seed, homeLink())
		f := s.add(NewWeir(simPacket), senderOptions{app: 1e6})
		s.run(60 * time.Second)
		f.bulk = true
		f.send(s)
		s.run(63 * time.Second)
		q := s.link.queueDelay(1, 60*time.Second, s.now)
		t.Logf("dropped %d, longest queue %v, %.2f Mbit/s", s.link.dropped, q, f.mbps(61*time.Second, s.now))
		atMost(t, "packets dropped", int(s.link.dropped), 0)
		atMost(t, "longest queue", q, 60*ms)
		atLeast(t, "Mbit/s", f.mbps(61*time.Second, s.now), 18)
	})
}
