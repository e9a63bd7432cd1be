// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/congestion"
)

// A fixed controller has a window and a rate that do not change, so that a test sees nothing but the scheduler.
type fixed struct {
	window int
	rate   float64 // bytes per second; zero: as the window says
}

func fixedWindow(n int) func(int) Controller {
	return func(int) Controller { return &fixed{window: n} }
}

func (*fixed) HandleSent(time.Time, uint64, int, int) {}
func (*fixed) HandleAck(time.Time, *congestion.Ack)   {}
func (*fixed) HandleLoss(time.Time, *congestion.Loss) {}
func (*fixed) HandleSpurious(time.Time, time.Time)    {}
func (*fixed) HandlePersistentCongestion(time.Time)   {}
func (*fixed) SetDemand(time.Time, congestion.Demand) {}
func (*fixed) SetMaxPacket(int)                       {}
func (c *fixed) Window() int                          { return c.window }
func (c *fixed) PacingRate() float64                  { return c.rate }
func (c *fixed) State() congestion.State              { return congestion.State{Name: "fixed"} }

// A lab runs several pairs in the same time, so that they can share bottlenecks.
type lab struct {
	t     *testing.T
	pairs []*pair
	loads []*load
	turn  int
}

func newLab(t *testing.T, pairs ...*pair) *lab {
	for i, p := range pairs {
		p.seed(uint64(i))
	}
	return &lab{t: t, pairs: pairs}
}

func (l *lab) now() time.Duration { return l.pairs[0].now.Sub(epoch) }

// A load is an application: it sends on a flow and reads it at the other end.
type load struct {
	p       *pair
	f       *Sender
	in      *Receiver
	size    int           // of a message
	every   time.Duration // between messages; zero: as fast as it goes
	from    time.Duration // since the epoch
	until   time.Duration // zero: to the end
	next    time.Duration
	offered int // bytes
	got     []rateMark
	total   int
	delays  []wait // of messages, by when they were sent
}

type rateMark struct {
	at    time.Duration
	bytes int
}

// add opens a flow from the a side of a pair.
func (l *lab) add(p *pair, o Options, size int, every, from, until time.Duration) *load {
	l.t.Helper()
	if o.SendBuffer == 0 {
		o.SendBuffer = 200_000
	}
	f := p.open(p.a, fmt.Sprint(len(l.loads)), &o)
	ld := &load{p: p, f: f, size: size, every: every, from: from, until: until, next: from}
	l.loads = append(l.loads, ld)
	return ld
}

// work sends what is due and reads what has come.
func (ld *load) work(t *testing.T, now time.Duration) {
	if ld.in != nil {
		for {
			msg, err := ld.in.Recv(over)
			if err != nil {
				break
			}
			ld.total += len(msg.Data)
			at := time.Duration(binary.BigEndian.Uint64(msg.Data))
			ld.delays = append(ld.delays, wait{epoch.Add(at), now - at})
			msg.Release()
		}
		if n := len(ld.got); n == 0 || now-ld.got[n-1].at >= 20*time.Millisecond {
			ld.got = append(ld.got, rateMark{now, ld.total})
		}
	}
	for ld.next <= now && (ld.until == 0 || now < ld.until) {
		msg := make([]byte, ld.size)
		binary.BigEndian.PutUint64(msg, uint64(now))
		_, err := ld.f.TrySend(msg)
		if ld.every > 0 {
			ld.offered += ld.size
			ld.next += ld.every
		}
		if errors.Is(err, ErrWouldBlock) {
			if ld.every > 0 {
				continue
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// run advances until d after the epoch.
func (l *lab) run(until time.Duration) {
	l.t.Helper()
	for l.now() < until {
		t := epoch.Add(until)
		for _, ld := range l.loads {
			ld.work(l.t, l.now())
			if at := epoch.Add(ld.next); ld.every > 0 && at.Before(t) && (ld.until == 0 || ld.next < ld.until) {
				t = at
			}
		}
		l.turn++
		for i := range l.pairs {
			p := l.pairs[(i+l.turn)%len(l.pairs)]
			p.flush(p.a)
			p.flush(p.b)
			if at := p.next(); !at.IsZero() && at.Before(t) {
				t = at
			}
		}
		for _, p := range l.pairs {
			p.advance(t)
			for _, s := range []*side{p.a, p.b} {
				if s.err != nil {
					l.t.Fatalf("%s: %v", s.name, s.err)
				}
			}
			for r, err := p.b.m.Accept(over); err == nil; r, err = p.b.m.Accept(over) {
				for _, ld := range l.loads {
					if ld.p == p && ld.f.Label() == r.Label() {
						ld.in = r
					}
				}
			}
		}
	}
	for _, ld := range l.loads {
		ld.work(l.t, l.now())
	}
}

// rate returns what arrived from a to b, in bits per second.
func (ld *load) rate(a, b time.Duration) float64 {
	var x, y int
	for _, m := range ld.got {
		if m.at <= a {
			x = m.bytes
		}
		if m.at <= b {
			y = m.bytes
		}
	}
	return float64(y-x) * 8 / (b - a).Seconds()
}

// delay returns the q-quantile of the delays of messages sent from a to b.
func (ld *load) delay(q float64, a, b time.Duration) time.Duration {
	var ds []time.Duration
	for _, d := range ld.delays {
		if at := d.at.Sub(epoch); at >= a && at < b {
			ds = append(ds, d.d)
		}
	}
	return quantile(ds, q)
}

func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)]
}

// lighter returns n, or less under the race detector, which has nothing to find in a machine and takes ten times as long.
func lighter(n, raced int) int {
	if raceEnabled {
		return raced
	}
	return n
}

// jain is Jain's index of fairness.
func jain(rates ...float64) float64 {
	var sum, squares float64
	for _, r := range rates {
		sum += r
		squares += r * r
	}
	return sum * sum / squares / float64(len(rates))
}

// seed gives a pair's network another kind of luck.
func (p *pair) seed(n uint64) *pair {
	p.rand = newRand(n)
	return p
}
