// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// bursts loses packets in runs, as radio does: the model of Gilbert and Elliott.
type bursts struct {
	begin float64 // probability that a run begins with a packet
	end   float64 // and that it ends before the next; the mean length is 1/end
	dense float64 // part lost within a run
	bad   bool
	at    time.Time // of the last packet
}

// burstTime is for how long a run lasts when nothing is sent: whatever disturbs the air passes.
const burstTime = time.Second

// burstLoss returns a model that loses the given part of the packets on average, in runs of the given mean length.
func burstLoss(part, length float64) *bursts {
	return &bursts{begin: part / (1 - part) / length, end: 1 / length, dense: 1}
}

func (b *bursts) lose(now time.Time, rnd *rand.Rand) bool {
	b.bad = b.bad && now.Sub(b.at) < burstTime
	b.at = now
	if b.bad {
		b.bad = rnd.Float64() >= b.end
	} else {
		b.bad = rnd.Float64() < b.begin
	}
	return b.bad && rnd.Float64() < b.dense
}

// overtaking has some packets arrive after the next few that are sent on the link.
type overtaking struct {
	part float64 // of the packets
	by   int     // how many overtake
	hold time.Duration
	held []heldBack
	most int // that have overtaken one
}

// A heldBack packet waits until left more have been sent, or for overtaking.hold.
type heldBack struct {
	n, left, passed int
}

// overtake lets a packet pass those held back, and may hold it back.
func (p *pair) overtake(o *overtaking, d *delivery) {
	kept := o.held[:0]
	for _, h := range o.held {
		h.left--
		h.passed++
		i := -1
		for k := range p.flight {
			if p.flight[k].n == h.n {
				i = k
			}
		}
		if i < 0 {
			continue // it has waited for long enough
		}
		if h.left > 0 {
			kept = append(kept, h)
			continue
		}
		o.most = max(o.most, h.passed)
		p.n++
		p.flight[i].at, p.flight[i].n = d.at, p.n
		heap.Fix(&p.flight, i)
	}
	o.held = kept
	if p.rand.Float64() < o.part {
		hold := o.hold
		if hold == 0 {
			hold = 200 * time.Millisecond
		}
		d.at = d.at.Add(hold)
		o.held = append(o.held, heldBack{n: d.n, left: o.by})
	}
}

// A bottleneck is a queue before a rate. Links of several pairs that share it must be in one lab.
type bottleneck struct {
	rates []rateStep // in order; the first from the beginning
	queue int        // bytes; more are dropped
	mark  int        // bytes of queue from which packets are marked instead, if they may be; 0: never

	freeAt        time.Time
	drops, marked int
	bytes         int // carried
	waits         []wait
}

// A rateStep is a rate from a moment on.
type rateStep struct {
	at  time.Duration // since the epoch
	bps float64       // bits per second
}

type wait struct {
	at time.Time
	d  time.Duration
}

func newBottleneck(bps float64, queue int) *bottleneck {
	return &bottleneck{rates: []rateStep{{0, bps}}, queue: queue, freeAt: epoch}
}

// each calls f for the parts of the time from t on in which the rate, in bytes per second, is constant. The last never
// ends.
func (b *bottleneck) each(t time.Time, f func(from, to time.Time, rate float64) (more bool)) {
	for i, s := range b.rates {
		to := epoch.Add(1 << 60)
		if i+1 < len(b.rates) {
			to = epoch.Add(b.rates[i+1].at)
		}
		if to.After(t) && !f(t, to, s.bps/8) {
			return
		}
		if to.After(t) {
			t = to
		}
	}
}

// backlog returns how many bytes wait at t.
func (b *bottleneck) backlog(t time.Time) (n float64) {
	b.each(t, func(from, to time.Time, rate float64) bool {
		if b.freeAt.Before(to) {
			to = b.freeAt
		}
		n += max(0, to.Sub(from).Seconds()*rate)
		return to != b.freeAt
	})
	return n
}

// take queues a packet and returns when it is through, with which mark, or that it was dropped.
func (b *bottleneck) take(now time.Time, size int, ecn wire.ECN) (at time.Time, _ wire.ECN, ok bool) {
	backlog := 0.0
	if b.freeAt.After(now) {
		backlog = b.backlog(now)
	} else {
		b.freeAt = now
	}
	if backlog+float64(size) > float64(b.queue) {
		b.drops++
		return now, ecn, false
	}
	if b.mark == 0 {
		ecn = wire.NotECT // as most do it
	} else if backlog > float64(b.mark) && ecn != wire.NotECT {
		ecn = wire.CE
		b.marked++
	}
	b.waits = append(b.waits, wait{now, b.freeAt.Sub(now)})
	left := float64(size)
	b.each(b.freeAt, func(from, to time.Time, rate float64) bool {
		d := time.Duration(left / rate * 1e9)
		if end := from.Add(d); !end.After(to) {
			b.freeAt = end
			return false
		}
		left -= to.Sub(from).Seconds() * rate
		return true
	})
	b.bytes += size
	return b.freeAt, ecn, true
}

// wait returns the q-quantile of how long packets waited from a to b, both since the epoch.
func (b *bottleneck) wait(q float64, from, to time.Duration) time.Duration {
	var ds []time.Duration
	for _, w := range b.waits {
		if at := w.at.Sub(epoch); at >= from && at < to {
			ds = append(ds, w.d)
		}
	}
	return quantile(ds, q)
}

// TestNetwork checks that the network does to packets what the tests that follow believe.
func TestNetwork(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	b, lost, runs, last := burstLoss(0.1, 8), 0, 0, false
	const n = 200_000
	for range n {
		now := b.lose(epoch, rnd)
		if now {
			lost++
			if !last {
				runs++
			}
		}
		last = now
	}
	if part, mean := float64(lost)/n, float64(lost)/float64(runs); part < 0.09 || part > 0.11 || mean < 7 || mean > 9 {
		t.Errorf("%.3f of the packets lost in runs of %.1f, want 0.1 in runs of 8", part, mean)
	}

	neck := &bottleneck{rates: []rateStep{{0, 8000}, {time.Second, 2000}, {3 * time.Second, 8000}}, queue: 2000, mark: 1200, freeAt: epoch}
	for _, test := range []struct {
		at   time.Duration
		size int
		out  time.Duration
		mark wire.ECN
		ok   bool
	}{
		{0, 500, 500 * time.Millisecond, wire.ECT0, true},
		{0, 1000, 3 * time.Second, wire.ECT0, true}, // 500 bytes in the fast half second, 500 in two slow ones
		{0, 400, 3400 * time.Millisecond, wire.CE, true},
		{0, 200, 0, wire.ECT0, false},
		{2 * time.Second, 100, 3500 * time.Millisecond, wire.ECT0, true}, // 250 + 400 bytes wait
		{5 * time.Second, 8, 5008 * time.Millisecond, wire.ECT0, true},
	} {
		out, mark, ok := neck.take(epoch.Add(test.at), test.size, wire.ECT0)
		if ok != test.ok || ok && (mark != test.mark || out.Sub(epoch)-test.out > time.Microsecond || test.out-out.Sub(epoch) > time.Microsecond) {
			t.Errorf("%d bytes at %v: through at %v, %v, %v; want %v, %v, %v", test.size, test.at, out.Sub(epoch), mark, ok,
				test.out, test.mark, test.ok)
		}
	}

	for _, by := range []int{1, 3, 32} {
		p := newPair(t, Config{Controller: fixedWindow(1 << 20)}, Config{})
		o := &overtaking{part: 0.02, by: by}
		p.a.link.passing = o
		f := p.open(p.a, "", nil)
		p.send1(f, pattern(500_000, 1))
		p.recv(p.accept(p.b))
		if o.most != by {
			t.Errorf("packets were overtaken by %d at most, want %d", o.most, by)
		}
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x70726f6f66)) }
