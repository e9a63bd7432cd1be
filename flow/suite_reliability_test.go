// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/rangeset"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestNoWaitForAbandoned gives messages up in every state, and the first, some in the middle or all but the last of
// those in between. What follows them is handed over half a round trip after that at the latest, or when all of it has
// arrived that has not been given up. RFC 7016 §3.6.2.7.1.
func TestNoWaitForAbandoned(t *testing.T) {
	const oneWay, n, size = 20 * ms, 12, 2500
	states := map[string]func(p *pair, s *Sender, lose func(func() bool)){
		"not begun": func(p *pair, s *Sender, _ func(func() bool)) {
			s.flowLimit = s.flowUsed
			p.run(5 * ms)
			s.flowLimit = 1 << 20
			p.a.m.unblock(s)
		},
		"in flight": func(p *pair, _ *Sender, _ func(func() bool)) { p.flush(p.a) },
		"lost": func(p *pair, _ *Sender, lose func(func() bool)) {
			lose(func() bool { return true })
			p.flush(p.a)
			p.run(5 * ms)
		},
		"in part": func(p *pair, _ *Sender, lose func(func() bool)) {
			k := 0
			lose(func() bool { k++; return k%2 == 0 })
			p.run(2*oneWay - ms)
		},
		"lost alone": func(p *pair, _ *Sender, _ func(func() bool)) { p.run(oneWay + ms) }, // the others have arrived
	}
	for name, reach := range states {
		for _, test := range []struct{ from, to int }{{0, 1}, {0, 6}, {3, 4}, {3, 9}, {0, n - 1}} {
			t.Run(fmt.Sprintf("%s/%d-%d", name, test.from, test.to), func(t *testing.T) {
				p := newPair(t, Config{Controller: fixedWindow(1 << 20)}, Config{})
				p.eachLink(func(l *link) { l.delay = oneWay })
				s := p.open(p.a, "", nil)
				p.send1(s, nil)
				r := p.accept(p.b)
				p.recv(r)
				p.run(time.Second)
				nothing := func() bool { return false }
				lost := nothing
				var have [n + 1]rangeset.Set
				var arrived [n + 1]time.Time // when all of a message had
				p.a.filter = func(_ uint64, payload []byte) bool {
					drop := lost()
					eachData(t, payload, func(d *wire.FlowData) {
						i := int(d.Seq) - 1
						drop = drop || name == "lost alone" && i >= test.from && i < test.to
					})
					if drop {
						return true
					}
					eachData(t, payload, func(d *wire.FlowData) {
						set := &have[d.Seq]
						if set.Add(d.Offset, d.Offset+uint64(len(d.Data))); set.Size() == size && arrived[d.Seq].IsZero() {
							arrived[d.Seq] = p.now.Add(oneWay)
						}
					})
					return false
				}
				var receipts []*Receipt
				for i := range n {
					receipts = append(receipts, p.send1(s, pattern(size, byte(i))))
					if name == "lost alone" {
						p.flush(p.a) // no packet has something of two
					}
				}
				reach(p, s, func(f func() bool) { lost = f })
				lost = nothing
				for i := test.from; i < test.to; i++ {
					receipts[i].Abandon()
				}
				ready := p.now // when nothing is missing that has not been given up
				seen := make(map[uint64]bool)
				for !seen[n] {
					msg := p.recv(r)
					seen[msg.Seq] = true
					if i := int(msg.Seq) - 1; i >= test.from && i < test.to {
						continue
					}
					if at := arrived[msg.Seq]; at.After(ready) {
						ready = at
					}
					if d := p.now.Sub(ready); d > oneWay {
						t.Errorf("message %d was handed over %v after everything before it had arrived or been given up", msg.Seq, d)
					}
				}
				p.run(time.Second)
				for i, receipt := range receipts {
					switch {
					case receipt.Outcome() == Pending:
						t.Errorf("message %d is pending", i+1)
					case (receipt.Outcome() == Abandoned) != (i >= test.from && i < test.to) && name != "in part":
						t.Errorf("message %d: %v", i+1, receipt.Outcome())
					case receipt.Outcome() == Delivered && !seen[uint64(i+1)]:
						t.Errorf("message %d is Delivered and was not handed over", i+1)
					}
				}
				p.wantBalance()
			})
		}
	}
}

// TestGapAlone abandons one message whose packets are all lost, with everything behind it arrived: the wait that is left
// is that for the skip, half a round trip.
func TestGapAlone(t *testing.T) {
	for _, oneWay := range []time.Duration{5 * ms, 100 * ms} {
		p := newPair(t, Config{}, Config{})
		p.eachLink(func(l *link) { l.delay = oneWay })
		s := p.open(p.a, "", nil)
		p.send1(s, nil)
		r := p.accept(p.b)
		p.recv(r)
		p.run(time.Second)
		p.a.filter = func(_ uint64, payload []byte) (drop bool) {
			eachData(t, payload, func(d *wire.FlowData) { drop = drop || d.Seq == 1 })
			return drop
		}
		lost := p.send1(s, pattern(500, 1))
		p.flush(p.a)
		for i := range 4 {
			p.send1(s, pattern(500, byte(i)))
			p.flush(p.a)
		}
		p.run(oneWay)
		if msgs, _ := take(r); len(msgs) > 0 {
			t.Fatalf("message %d overtook the lost one", msgs[0].Seq)
		}
		lost.Abandon()
		start := p.now
		if msg := p.recv(r); msg.Seq != 2 {
			t.Errorf("message %d, want 2", msg.Seq)
		}
		if d := p.now.Sub(start); d > oneWay+ms {
			t.Errorf("round trip %v: waited %v for a message that had been given up, want half a round trip", 2*oneWay, d)
		}
		wantReason(t, lost, Withdrawn)
	}
}

// TestKeyFrameExpiresGroup sends groups of pictures, each depending on the one before, over a path that is too slow. One
// that is given up takes the rest of its group along, unsent; and a new key frame gives what is left of the old group
// a tenth of a second. RFC 7016 §3.6.2.7.
func TestKeyFrameExpiresGroup(t *testing.T) {
	const frames, grace = 30, 100 * ms
	p := newPair(t, Config{Controller: func(int) Controller { return &fixed{window: 30_000, rate: 100_000} }}, Config{})
	p.a.link.rate, p.a.link.queue = 110_000, 20_000
	s := p.open(p.a, "video", &Options{SendBuffer: 1 << 22})
	p.send1(s, nil)
	in := p.accept(p.b)
	p.run(time.Second)
	_, _ = take(in)
	type frame struct {
		r     *Receipt
		group int
		last  time.Time // from when on nothing of it may be begun
	}
	var all []*frame
	begun := make(map[uint64]bool)
	p.a.filter = func(_ uint64, payload []byte) bool {
		eachData(t, payload, func(d *wire.FlowData) {
			if d.Seq == 0 || begun[d.Seq] {
				return
			}
			begun[d.Seq] = true
			if f := all[d.Seq-1]; !f.last.IsZero() && !p.now.Before(f.last) {
				t.Errorf("frame %d of group %d was begun %v after its group had expired", d.Seq, f.group, p.now.Sub(f.last))
			}
		})
		return false
	}
	for group := range 6 {
		if group > 0 {
			for _, f := range all[(group-1)*frames:] {
				f.last = p.now.Add(grace)
				f.r.SetDeadline(f.last, time.Time{})
			}
		}
		var parent *Receipt
		for i := range frames { // 30 a second, 150 kB a second
			size := 4500
			if i == 0 {
				size = 20_000
			}
			r, err := s.TrySend(pattern(size, byte(i)), After(parent))
			if err != nil {
				t.Fatal(err)
			}
			parent = r
			all = append(all, &frame{r: r, group: group})
			if group == 2 && i == 10 {
				all[2*frames+3].r.Abandon()
			}
			p.run(time.Second / frames)
			for k, f := range all {
				if !f.last.IsZero() && p.now.After(f.last) && f.r.Outcome() == Pending && !begun[uint64(k+1)] {
					t.Errorf("frame %d of group %d is neither begun nor given up %v after the group has expired", k, f.group,
						p.now.Sub(f.last))
				}
			}
			_, _ = take(in)
		}
	}
	p.run(5 * time.Second)
	var fates [6][reasons]int
	for i, f := range all {
		if f.r.Outcome() == Pending {
			t.Fatalf("frame %d is pending at the end", i)
		}
		fates[f.group][f.r.Reason()]++
	}
	if w := fates[2][Withdrawn]; w > 1 || w == 1 && fates[2][ParentAbandoned] != frames-4 {
		t.Errorf("group 2: %v, want the frames after the one withdrawn to go with it", fates[2])
	}
	for group, f := range fates {
		t.Logf("group %d: delivered %d, start deadline %d, parent %d, withdrawn %d", group, f[NotAbandoned], f[StartDeadline],
			f[ParentAbandoned], f[Withdrawn])
	}
	if fates[1][StartDeadline]+fates[1][ParentAbandoned] == 0 || fates[5][NotAbandoned] != frames {
		t.Errorf("fates %v, want some to expire, and none of the last group", fates)
	}
	p.wantBalance()
}

// TestUrgentLatency sends small urgent messages beside one of 16 MiB at a fixed pace: each is there after the time of the
// packet before it and the way.
func TestUrgentLatency(t *testing.T) {
	const rate, oneWay = 1.25e6, 25 * ms
	packet := time.Duration(1200 / rate * float64(time.Second))
	for _, o := range []Ordering{Ordered, Arrival} {
		p := newPair(t, Config{Controller: func(int) Controller { return &fixed{window: 1 << 20, rate: rate} }}, Config{})
		p.eachLink(func(l *link) { l.delay = oneWay })
		l := newLab(t, p)
		whole := p.open(p.a, "bulk", &Options{Priority: Bulk, SendBuffer: 32 << 20})
		if _, err := whole.TrySend(make([]byte, 16<<20)); err != nil {
			t.Fatal(err)
		}
		urgent := l.add(p, Options{Priority: Immediate, Ordering: o}, 50, 7*ms+123*time.Microsecond, 500*ms, 0)
		l.run(4 * time.Second)
		from := 600 * ms
		worst, median := urgent.delay(1, from, l.now()), urgent.delay(0.5, from, l.now())
		n := len(urgent.delays)
		t.Logf("%v: %d messages, median %v, worst %v", o, n, median, worst)
		// Every 32nd packet may be of those that would otherwise starve, and pacing releases packets in small batches.
		if limit := oneWay + 2*packet + ms; n < 400 || worst > limit || median > oneWay+packet {
			t.Errorf("%v: median %v, worst %v of %d; want at most %v, %v", o, median, worst, n, oneWay+packet, limit)
		}
		if p.a.m.Stats().BytesSent < rate*3 {
			t.Error("nothing competed")
		}
	}
}

// TestCallOnANarrowPath: voice, video and a transfer on 300 kbit/s with the default controller. Voice waits for
// the few packets that are on their way, video gets most of the rest.
func TestCallOnANarrowPath(t *testing.T) {
	neck := newBottleneck(300e3, 15_000)
	l := sharing(t, neck, Config{})
	p := l.pairs[0]
	voice := l.add(p, Options{Priority: Immediate, FinishWithin: time.Second}, 80, 20*ms, 0, 0)
	video := l.add(p, Options{Priority: Urgent, StartWithin: 150 * ms, FinishWithin: time.Second}, 1000, 50*ms, 0, 0)
	bulk := l.add(p, Options{Priority: Bulk}, 8000, 0, 0, 0)
	l.run(30 * time.Second)
	from := 5 * time.Second
	p99, packet := voice.delay(0.99, from, l.now()), 1200*8*time.Second/300_000
	t.Logf("voice p50 %v p99 %v; %.0f, %.0f, %.0f kbit/s", voice.delay(0.5, from, l.now()), p99,
		voice.rate(from, l.now())/1e3, video.rate(from, l.now())/1e3, bulk.rate(from, l.now())/1e3)
	if need := voice.rate(from, l.now()) / (80 * 8 / 0.02); need < 0.98 {
		t.Errorf("%.3f of the voice arrived, want all", need)
	}
	if limit := 40*ms + 5*packet; p99 > limit {
		t.Errorf("99th percentile of the delay of voice %v, want at most %v", p99, limit)
	}
	if need := video.rate(from, l.now()) / (1000 * 8 / 0.05); need < 0.9 {
		t.Errorf("%.3f of the video arrived, want nearly all", need)
	}
	if r := bulk.rate(from, l.now()); r > 100e3 || r < 3e3 {
		t.Errorf("%.0f bit/s of bulk, want what is left and no more", r)
	}
}
