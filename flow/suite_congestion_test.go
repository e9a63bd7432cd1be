// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// These tests run whole muxes, loss recovery, pacing, flow control and all, over shared bottlenecks. What the controllers
// do by themselves is tested in internal/congestion.

const ms = time.Millisecond

// sharing returns pairs with a round trip of 40 ms that share what is before the way from a to b.
func sharing(t *testing.T, neck *bottleneck, configs ...Config) *lab {
	var pairs []*pair
	for _, c := range configs {
		p := newPair(t, c, Config{})
		p.eachLink(func(l *link) { l.delay = 20 * ms })
		p.a.link.neck = neck
		pairs = append(pairs, p)
	}
	return newLab(t, pairs...)
}

// TestSoloFill: one bulk flow fills a path by itself, with any of the controllers.
func TestSoloFill(t *testing.T) {
	for name, controller := range map[string]func(int) Controller{"weir": NewWeir, "cubic": NewCUBIC, "newreno": NewReno} {
		for _, mbps := range []float64{2, 10, 40}[:lighter(3, 2)] {
			t.Run(fmt.Sprintf("%s/%v Mbit/s", name, mbps), func(t *testing.T) {
				neck := newBottleneck(mbps*1e6, int(mbps*1e6/8/10)) // 100 ms
				l := sharing(t, neck, Config{Controller: controller})
				bulk := l.add(l.pairs[0], Options{SendBuffer: 2 << 20}, 16_000, 0, 0, 0)
				l.run(4 * time.Second)
				share := bulk.rate(time.Second, l.now()) / (mbps * 1e6)
				t.Logf("%.3f of the path, queue p95 %v", share, neck.wait(0.95, time.Second, l.now()))
				if share < 0.9 {
					t.Errorf("messages take %.3f of the path, want at least 0.9", share)
				}
			})
		}
	}
}

// TestFairShares: sessions with the same controller share evenly, whenever they come.
func TestFairShares(t *testing.T) {
	for _, later := range []time.Duration{0, 3 * time.Second} {
		neck := newBottleneck(10e6, 125_000)
		l := sharing(t, neck, Config{}, Config{})
		a := l.add(l.pairs[0], Options{}, 8000, 0, 0, 0)
		b := l.add(l.pairs[1], Options{}, 8000, 0, later, 0)
		from := later + 2*time.Second
		l.run(from + 12*time.Second)
		ra, rb := a.rate(from, l.now()), b.rate(from, l.now())
		t.Logf("second after %v: %.2f and %.2f Mbit/s, index %.3f", later, ra/1e6, rb/1e6, jain(ra, rb))
		if j := jain(ra, rb); j < 0.9 || ra+rb < 8.5e6 {
			t.Errorf("second after %v: %.0f and %.0f bit/s, index %.3f; want at least 0.9 and most of the path", later, ra, rb, j)
		}
	}
}

// TestBesideCUBIC: the default controller takes from half to twice what one that fills queues takes.
func TestBesideCUBIC(t *testing.T) {
	neck := newBottleneck(10e6, 125_000)
	l := sharing(t, neck, Config{}, Config{Controller: NewCUBIC})
	weir := l.add(l.pairs[0], Options{}, 8000, 0, 0, 0)
	cubic := l.add(l.pairs[1], Options{}, 8000, 0, 37*ms, 0)
	l.run(31 * time.Second)
	rw, rc := weir.rate(time.Second, l.now()), cubic.rate(time.Second, l.now())
	t.Logf("weir %.2f, CUBIC %.2f Mbit/s", rw/1e6, rc/1e6)
	if ratio := rw / rc; ratio < 0.5 || ratio > 2 {
		t.Errorf("%.0f beside %.0f bit/s of CUBIC: %.2f, want 0.5 to 2", rw, rc, ratio)
	}
}

// TestTimeCriticalBesideBulk: what is time-critical keeps what it needs, in time, whether the bulk is in the same session
// or in another one of the same host.
func TestTimeCriticalBesideBulk(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same session=%v", same), func(t *testing.T) {
			neck := newBottleneck(10e6, 250_000)
			l := sharing(t, neck, Config{}, Config{})
			other := l.pairs[1]
			if same {
				other = l.pairs[0]
			}
			bulk := l.add(other, Options{Priority: Bulk}, 8000, 0, 0, 0)
			video := l.add(l.pairs[0], Options{Priority: Urgent, FinishWithin: 150 * ms}, 8000, 33*ms, time.Second, 0)
			l.run(15 * time.Second)
			from := 3 * time.Second
			need := video.rate(from, l.now()) / (8000 * 8 / 0.033)
			late := video.delay(0.99, from, l.now())
			t.Logf("%.3f of what it needs, p99 %v, beside %.2f Mbit/s", need, late, bulk.rate(from, l.now())/1e6)
			if need < 0.9 {
				t.Errorf("time-critical data gets %.3f of what it needs, want at least 0.9", need)
			}
			if late > 150*ms {
				t.Errorf("99th percentile of its delay %v, want at most its deadline of 150ms", late)
			}
			if got := bulk.rate(from, l.now()) / 1e6; got < 5 {
				t.Errorf("%.2f Mbit/s of bulk, want most of what is left", got)
			}
		})
	}
}

// TestDeepQueue: a queue of a second is not filled.
func TestDeepQueue(t *testing.T) {
	for _, urgent := range []bool{false, true} {
		neck := newBottleneck(5e6, 625_000)
		l := sharing(t, neck, Config{})
		l.add(l.pairs[0], Options{Priority: Bulk}, 8000, 0, 0, 0)
		if urgent {
			l.add(l.pairs[0], Options{Priority: Immediate}, 160, 20*ms, 0, 0)
		}
		l.run(12 * time.Second)
		if q := neck.wait(0.95, 0, l.now()); q > 100*ms {
			t.Errorf("urgent %v: 95th percentile of the queue %v, want at most 100ms", urgent, q)
		}
	}
}

// TestCapacitySteps: the path becomes four times slower, and as fast as before.
func TestCapacitySteps(t *testing.T) {
	neck := newBottleneck(12e6, 150_000)
	down, up := 4*time.Second, 10*time.Second
	neck.rates = append(neck.rates, rateStep{down, 3e6}, rateStep{up, 12e6})
	l := sharing(t, neck, Config{})
	bulk := l.add(l.pairs[0], Options{}, 8000, 0, 0, 0)
	l.run(18 * time.Second)
	low, high := bulk.rate(down+time.Second, up)/3e6, bulk.rate(up+3*time.Second, l.now())/12e6
	q := neck.wait(0.95, down+time.Second, up)
	t.Logf("%.3f of the slow path with queue p95 %v, %.3f of the fast one", low, q, high)
	if low < 0.85 || high < 0.85 {
		t.Errorf("%.3f of the path from 1 s after it became slow, %.3f from 3 s after it became fast; want 0.85", low, high)
	}
	if q > 100*ms {
		t.Errorf("queue of %v from a second after the path became slow, want at most 100ms", q)
	}
}

// TestBurstAfterLittle: an application that sent little for a minute sends all it can, and does not lose a storm.
func TestBurstAfterLittle(t *testing.T) {
	neck := newBottleneck(10e6, 125_000)
	l := sharing(t, neck, Config{})
	l.add(l.pairs[0], Options{}, 500, 20*ms, 0, 0)
	bulk := l.add(l.pairs[0], Options{}, 8000, 0, 60*time.Second, 0)
	l.run(64 * time.Second)
	lost := l.pairs[0].a.m.Stats().PacketsLost
	t.Logf("%d lost, %.2f Mbit/s", lost, bulk.rate(61*time.Second, l.now())/1e6)
	if sent := l.pairs[0].a.sent; lost > uint64(sent)/100 {
		t.Errorf("%d of %d packets lost, want at most a hundredth", lost, sent)
	}
	if r := bulk.rate(61*time.Second, l.now()); r < 8.5e6 {
		t.Errorf("%.0f bit/s from a second after the burst began, want most of 10 Mbit/s", r)
	}
}

// TestMeshOnOneUplink: a call of six, everybody's voice and video to five others over one uplink that is too small for
// all the video. The uplink is used and shared, voice gets what it needs. A path that takes fewer packets per round trip
// than the sessions must have in flight at least has a queue, whatever they do: there voice is held to less.
func TestMeshOnOneUplink(t *testing.T) {
	for _, test := range []struct {
		mbps, voice float64
		late        time.Duration
	}{{2, 0.9, 700 * ms}, {5, 0.99, 100 * ms}} {
		t.Run(fmt.Sprintf("%v Mbit/s", test.mbps), func(t *testing.T) {
			capacity := test.mbps * 1e6
			neck := newBottleneck(capacity, int(capacity/8/5))
			l := sharing(t, neck, Config{}, Config{}, Config{}, Config{}, Config{})
			var voice, video []*load
			for i, p := range l.pairs {
				at := time.Duration(i) * 13 * ms
				voice = append(voice, l.add(p, Options{Priority: Immediate, FinishWithin: 500 * ms}, 80, 20*ms, at, 0))
				size := int(1.9 * capacity / 5 / 8 * 0.033)
				video = append(video, l.add(p, Options{
					Priority: Urgent, StartWithin: 100 * ms, FinishWithin: 400 * ms,
				}, size, 33*ms, at+5*ms, 0))
			}
			l.run(16 * time.Second)
			from := 4 * time.Second
			var rates []float64
			for i := range voice {
				need, p99 := voice[i].rate(from, l.now())/(80*8/0.02), voice[i].delay(0.99, from, l.now())
				rates = append(rates, video[i].rate(from, l.now()))
				t.Logf("voice %.3f of its need, p99 %v; video %.0f kbit/s", need, p99, rates[i]/1e3)
				if need < test.voice || p99 > test.late {
					t.Errorf("peer %d: %.3f of its voice, p99 %v; want at least %v, at most %v", i, need, p99, test.voice, test.late)
				}
			}
			used := (float64(neck.bytes) - neck.backlog(l.pairs[0].now)) * 8 / l.now().Seconds() / capacity
			t.Logf("index %.3f, %.3f of the uplink, queue p95 %v", jain(rates...), used, neck.wait(0.95, from, l.now()))
			if j := jain(rates...); j < 0.9 {
				t.Errorf("video %.0f, index %.3f, want at least 0.9", rates, j)
			}
			if used > 1 || used < 0.85 {
				t.Errorf("%.3f of the uplink used, want nearly all and not more", used)
			}
		})
	}
}

// TestMarkingQueue: a queue that marks packets keeps short, and nothing is lost.
func TestMarkingQueue(t *testing.T) {
	for name, controller := range map[string]func(int) Controller{"weir": NewWeir, "cubic": NewCUBIC, "newreno": NewReno} {
		neck := newBottleneck(10e6, 250_000)
		neck.mark = 20_000
		l := sharing(t, neck, Config{Controller: controller})
		bulk := l.add(l.pairs[0], Options{}, 8000, 0, 0, 0)
		l.run(10 * time.Second)
		st := l.pairs[0].a.m.Stats()
		share, q := bulk.rate(2*time.Second, l.now())/10e6, neck.wait(0.95, 2*time.Second, l.now())
		t.Logf("%s: %d marked, %d lost, %.3f of the path, queue p95 %v", name, st.PacketsMarked, st.PacketsLost, share, q)
		if st.PacketsMarked == 0 || int(st.PacketsMarked) > neck.marked || st.PacketsLost > 0 || neck.drops > 0 {
			t.Errorf("%s: told of %d of %d marks, %d packets lost, %d dropped; want marks and no losses", name,
				st.PacketsMarked, neck.marked, st.PacketsLost, neck.drops)
		}
		if share < 0.8 || q > 50*ms {
			t.Errorf("%s: %.3f of the path with a queue of %v, want 0.8 and 50ms: marks hold it down", name, share, q)
		}
	}
}

// TestMarkIsLikeLoss: one mark does to the window what one loss does. RFC 9002 §7.1.
func TestMarkIsLikeLoss(t *testing.T) {
	const victim = 200
	window := func(lose, mark bool) (before, after int) {
		p := newPair(t, Config{Controller: NewReno}, Config{})
		n := 0
		p.a.filter = func(pn uint64, _ []byte) bool {
			if n++; n == victim {
				before = p.a.m.Stats().CongestionWindow
			}
			return lose && n == victim
		}
		p.a.link.ecn = func(e wire.ECN) wire.ECN {
			if mark && n == victim {
				return wire.CE
			}
			return e
		}
		p.b.link.ecn = func(e wire.ECN) wire.ECN { return e }
		f := p.open(p.a, "", nil)
		p.send1(f, pattern(400_000, 1))
		p.recv(p.accept(p.b))
		p.run(time.Second)
		st := p.a.m.Stats()
		if lost := st.PacketsLost > 0; lost != lose || (st.PacketsMarked > 0) != mark {
			t.Errorf("%d lost, %d marked, want %v, %v", st.PacketsLost, st.PacketsMarked, lose, mark)
		}
		return before, st.CongestionWindow
	}
	_, clean := window(false, false)
	_, lost := window(true, false)
	_, marked := window(false, true)
	t.Logf("window %d without, %d after a loss, %d after a mark", clean, lost, marked)
	if lost > clean*2/3 || marked > clean*2/3 || marked > lost*11/10 || marked < lost*9/10 {
		t.Errorf("window %d without, %d after a loss, %d after a mark; want a mark to count like a loss", clean, lost, marked)
	}
}
