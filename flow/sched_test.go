// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// share counts what the packets of a side carry, by flow.
type share struct {
	packets int
	bytes   map[uint64]int
	first   map[uint64]int // packets whose first fragment is of that flow
	trace   []uint64       // those flows in order
}

func watchShare(p *pair) *share {
	sh := &share{}
	sh.reset()
	p.a.filter = func(_ uint64, payload []byte) bool {
		n := 0
		eachData(p.t, payload, func(d *wire.FlowData) {
			sh.bytes[d.Flow] += len(d.Data)
			if n++; n == 1 {
				sh.first[d.Flow]++
				sh.trace = append(sh.trace, d.Flow)
			}
		})
		if n > 0 {
			sh.packets++
		}
		return false
	}
	return sh
}

func (sh *share) reset() {
	sh.packets, sh.bytes, sh.first, sh.trace = 0, make(map[uint64]int), make(map[uint64]int), nil
}

// keepBusy opens flows and keeps their buffers full while read keeps the peer's empty.
func keepBusy(p *pair, o []Options) (flows []*Sender, turn func()) {
	for i := range o {
		o[i].SendBuffer = 400_000
		f := p.open(p.a, fmt.Sprint(i), &o[i])
		flows = append(flows, f)
		if _, err := f.TrySend(nil); err != nil { // fixes the IDs in this order
			p.t.Fatal(err)
		}
		p.run(50 * time.Millisecond)
	}
	var in []*Receiver
	turn = func() {
		for _, f := range flows {
			for {
				if _, err := f.TrySend(pattern(5000, 0)); err != nil {
					break
				}
			}
		}
		p.run(10 * time.Millisecond)
		for r, err := p.b.m.Accept(over); err == nil; r, err = p.b.m.Accept(over) {
			in = append(in, r)
		}
		for _, r := range in {
			for {
				msg, err := r.Recv(over)
				if err != nil {
					break
				}
				msg.Release()
			}
		}
	}
	return flows, turn
}

// TestNobodyStarves keeps all eight levels busy. The first gets all packets but the guard's; everybody else gets about
// one of 32, and never two in a row.
func TestNobodyStarves(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.a.link.rate, p.a.link.queue = 2_000_000, 50_000
	var o []Options
	for pri := Override; pri >= Background; pri-- {
		o = append(o, Options{Priority: pri})
	}
	flows, turn := keepBusy(p, o)
	for range 100 {
		turn()
	}
	sh := watchShare(p)
	for range 400 {
		turn()
	}
	for i := range flows {
		part := float64(sh.first[uint64(i)]) / float64(sh.packets)
		t.Logf("%-4v %5.2f %% of %d packets", Override-Priority(i), 100*part, sh.packets)
		switch {
		case i == 0 && part < 0.75:
			t.Errorf("the first level gets %.3f of the packets, want all but 7 of 32", part)
		case i > 0 && (part < 0.9/32 || part > 1.2/32):
			t.Errorf("level %d gets %.4f of the packets, want about 1/32", i, part)
		}
	}
	for i := 1; i < len(sh.trace); i++ {
		if sh.trace[i] != 0 && sh.trace[i-1] != 0 {
			t.Fatalf("packets %d and %d are both of lower levels", i-1, i)
		}
	}
}

// TestGuardCostsLittle has one flow of the lowest level beside a busy one of the highest.
func TestGuardCostsLittle(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.a.link.rate, p.a.link.queue = 2_000_000, 50_000
	_, turn := keepBusy(p, []Options{{Priority: Urgent}, {Priority: Bulk}})
	for range 100 {
		turn()
	}
	sh := watchShare(p)
	for range 300 {
		turn()
	}
	if part := float64(sh.first[1]) / float64(sh.packets); part < 0.9/32 || part > 1.1/32 {
		t.Errorf("the flow of low priority gets %.4f of %d packets, want 1/32", part, sh.packets)
	}
}

// TestWeights checks shares within a level.
func TestWeights(t *testing.T) {
	weights := []int{0, 8, 32, 64, 255, 1000, -5}
	p := newPair(t, Config{}, Config{})
	p.a.link.rate, p.a.link.queue = 3_000_000, 60_000
	var o []Options
	sum := 0.0
	want := []float64{16, 8, 32, 64, 255, 255, 1}
	for i, w := range weights {
		o = append(o, Options{Weight: w})
		sum += want[i]
	}
	_, turn := keepBusy(p, o)
	for range 100 {
		turn()
	}
	sh := watchShare(p)
	for range 1500 {
		turn()
	}
	total := 0
	for _, n := range sh.bytes {
		total += n
	}
	for i, w := range want {
		got := float64(sh.bytes[uint64(i)]) / float64(total)
		if off := got/(w/sum) - 1; math.Abs(off) > 0.1 {
			t.Errorf("weight %d: %.4f of the bytes, want %.4f: %.1f %% off", weights[i], got, w/sum, 100*off)
		}
	}
}

// TestSetPriority turns two busy flows around.
func TestSetPriority(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.a.link.rate, p.a.link.queue = 1_000_000, 30_000
	flows, turn := keepBusy(p, []Options{{Priority: Urgent}, {Priority: Bulk}})
	for range 50 {
		turn()
	}
	sh := watchShare(p)
	for range 50 {
		turn()
	}
	if sh.first[0] < 10*sh.first[1] {
		t.Fatalf("packets %v, want nearly all of flow 0", sh.first)
	}
	flows[0].SetPriority(Background)
	sh.reset()
	p.until(time.Second, "a packet", func() bool { return sh.packets > 4 })
	if sh.trace[0] != 1 || sh.first[0] > 1 { // which the guard against starvation may let ahead once
		t.Errorf("the next packets are of %v, want flow 1 from the first on", sh.trace)
	}
	for range 50 {
		turn()
	}
	if sh.first[1] < 10*sh.first[0] {
		t.Errorf("packets %v after the change, want nearly all of flow 1", sh.first)
	}
	for _, f := range flows {
		f.Abort(0)
	}
	p.run(time.Second)
	if p.a.m.sched.n != 0 {
		t.Errorf("%d flows scheduled at the end", p.a.m.sched.n)
	}
}

// TestUrgentPassesBulk sends a small urgent message every 50 ms beside a message of 16 MiB. It goes out in the packet
// after the one being sent.
func TestUrgentPassesBulk(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	p.a.link.rate, p.a.link.queue = 2_500_000, 10_000
	bulk := p.open(p.a, "bulk", &Options{Priority: Bulk, SendBuffer: 32 << 20})
	urgent := p.open(p.a, "urgent", &Options{Priority: Immediate})
	whole, err := bulk.TrySend(make([]byte, 16<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := urgent.TrySend(nil); err != nil {
		t.Fatal(err)
	}
	p.run(500 * time.Millisecond)
	var packets, after int
	waiting := false
	var sentAt, outAt time.Time
	p.a.filter = func(_ uint64, payload []byte) bool {
		packets++
		eachData(t, payload, func(d *wire.FlowData) {
			if waiting && d.Flow == urgent.open.Flow {
				waiting, after, outAt = false, packets, p.now
			}
		})
		return false
	}
	worst := 0
	var late time.Duration
	for range 60 {
		packets, waiting, sentAt = 0, true, p.now
		if _, err := urgent.TrySend([]byte("now")); err != nil {
			t.Fatal(err)
		}
		p.until(time.Second, "the urgent message is sent", func() bool { return !waiting })
		worst, late = max(worst, after), max(late, outAt.Sub(sentAt))
		p.run(50 * time.Millisecond)
	}
	t.Logf("at worst in packet %d, after %v", worst, late)
	if worst > 2 {
		t.Errorf("an urgent message was sent in packet %d after it was queued, want the first or, rarely, the second", worst)
	}
	if whole.Outcome() != Pending {
		t.Errorf("the large message is %v already: nothing competed", whole.Outcome())
	}
	if sent, _ := p.a.m.TimeCritical(); p.now.Sub(sent) > 200*time.Millisecond {
		t.Errorf("time-critical data was last sent %v ago, want about 50 ms", p.now.Sub(sent))
	}
}

// TestSmallMessagesShareAPacket sends one small message on each of several flows.
func TestSmallMessagesShareAPacket(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	for i := range 10 {
		f := p.open(p.a, "", &Options{Priority: Priority(i%8) - 3})
		if _, err := f.TrySend([]byte("small")); err != nil {
			t.Fatal(err)
		}
	}
	before := p.a.sent
	p.flush(p.a)
	if n := p.a.sent - before; n != 1 {
		t.Errorf("ten small messages took %d packets, want 1", n)
	}
}

// TestManyFlows opens 10000 flows with a message each, all at once.
func TestManyFlows(t *testing.T) {
	const n = 10_000
	p := newPair(t, Config{}, Config{})
	var receipts []*Receipt
	for range n {
		f := p.open(p.a, "many", nil)
		r, err := f.TrySend([]byte("hello, world"))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	received := 0
	p.until(time.Minute, "all messages arrive", func() bool {
		for r, err := p.b.m.Accept(over); err == nil; r, err = p.b.m.Accept(over) {
			if msg, err := r.Recv(over); err == nil && string(msg.Data) == "hello, world" {
				received++
			}
		}
		return received == n
	})
	took := p.now.Sub(epoch)
	t.Logf("%v and %d packets", took, p.a.sent)
	p.run(time.Second)
	for _, r := range receipts {
		wantReason(t, r, NotAbandoned)
	}
	if took > 300*time.Millisecond {
		t.Errorf("took %v, want a few round trips of 20 ms", took)
	}
}
