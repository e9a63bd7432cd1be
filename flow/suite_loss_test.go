// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"crypto/sha256"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/recovery"
)

// badNetworks are ways for a network to be bad. Each says what it does to the way from a to b and the way back.
var badNetworks = []struct {
	name string
	make func(there, back *link)
}{
	{"perfect", func(*link, *link) {}},
	{"loss 1%", func(l, k *link) { l.loss, k.loss = 0.01, 0.01 }},
	{"loss 5%", func(l, k *link) { l.loss, k.loss = 0.05, 0.05 }},
	{"loss 10%", func(l, k *link) { l.loss, k.loss = 0.1, 0.1 }},
	{"loss 20%", func(l, k *link) { l.loss, k.loss = 0.2, 0.2 }},
	{"loss 30%", func(l, k *link) { l.loss, k.loss = 0.3, 0.3 }},
	{"bursts of 4, 5%", func(l, k *link) { l.burst, k.burst = burstLoss(0.05, 4), burstLoss(0.05, 4) }},
	{"bursts of 20, 20%", func(l, k *link) { l.burst, k.burst = burstLoss(0.2, 20), burstLoss(0.2, 20) }},
	{"overtaken by 1", func(l, k *link) { l.passing, k.passing = &overtaking{part: 0.1, by: 1}, &overtaking{part: 0.1, by: 1} }},
	{"overtaken by 4", func(l, k *link) { l.passing, k.passing = &overtaking{part: 0.1, by: 4}, &overtaking{part: 0.1, by: 4} }},
	{"overtaken by 12", func(l, _ *link) { l.passing = &overtaking{part: 0.05, by: 12} }},
	{"overtaken by 32", func(l, _ *link) { l.passing = &overtaking{part: 0.05, by: 32} }},
	{"all in disorder", func(l, k *link) { l.jitter, k.jitter = 40*ms, 40*ms }},
	{"twins", func(l, k *link) { l.dup, k.dup, l.jitter = 0.5, 0.5, 3*ms }},
	{"acknowledgements lost 50%", func(_, k *link) { k.loss = 0.5 }},
	{"everything", func(l, k *link) {
		l.loss, l.burst, l.passing, l.dup, l.jitter = 0.05, burstLoss(0.05, 5), &overtaking{part: 0.05, by: 9}, 0.1, 4*ms
		k.loss, k.burst, k.dup, k.jitter = 0.2, burstLoss(0.1, 3), 0.1, 4*ms
		l.neck = newBottleneck(8e6, 60_000)
	}},
}

// TestOnceAndIntact: whatever the network does to packets, every message arrives once and unchanged, in the order asked
// for, and every receipt says so. RFC 7016 §3.6.2.5.
func TestOnceAndIntact(t *testing.T) {
	for i, network := range badNetworks {
		t.Run(network.name, func(t *testing.T) {
			p := newPair(t, Config{}, Config{}).seed(uint64(i))
			network.make(p.a.link, p.b.link)
			const n = 250
			sizes := []int{0, 1, 200, 1100, 1500, 4000, 30_000}
			orders := []Ordering{Ordered, Arrival}
			var flows []*Sender
			var receipts []*Receipt
			sums := make(map[string][]([sha256.Size]byte))
			for _, o := range orders {
				f := p.open(p.a, fmt.Sprint(o), &Options{Ordering: o, SendBuffer: 1 << 24})
				flows = append(flows, f)
				for k := range n {
					msg := pattern(sizes[p.rand.IntN(len(sizes))], byte(k))
					sums[f.Label()] = append(sums[f.Label()], sha256.Sum256(msg))
					receipts = append(receipts, p.send1(f, msg))
				}
				_ = f.Close(over)
			}
			got := make(map[string]map[uint64]bool)
			for range flows {
				r := p.accept(p.b)
				msgs, err := p.recvErr(r)
				if err != io.EOF {
					t.Errorf("flow %s ends with %v, want io.EOF", r.Label(), err)
				}
				seen := make(map[uint64]bool)
				got[r.Label()] = seen
				for k, msg := range msgs {
					if seen[msg.Seq] || sums[r.Label()][msg.Seq] != sha256.Sum256(msg.Data) {
						t.Fatalf("flow %s: message %d came twice or changed", r.Label(), msg.Seq)
					}
					seen[msg.Seq] = true
					if r.Label() == fmt.Sprint(Ordered) && msg.Seq != uint64(k) {
						t.Fatalf("message %d came as number %d", msg.Seq, k)
					}
				}
				if len(seen) != n {
					t.Errorf("flow %s: %d messages, want %d", r.Label(), len(seen), n)
				}
			}
			p.run(20 * time.Second)
			for k, r := range receipts {
				if r.Outcome() != Delivered {
					t.Errorf("receipt %d: %v, want Delivered", k, r.Outcome())
				}
			}
			p.wantNoLeak()
			p.wantBalance()
		})
	}
}

// TestTailLossIsRepaired loses the last packets of a message, which nothing follows. The probe that repairs it goes out a
// round trip and the peer's longest delay of acknowledgements after them, so that it is there after one and a half and
// that delay. A second loss costs twice as much again. RFC 9002 §6.2.
func TestTailLossIsRepaired(t *testing.T) {
	for _, oneWay := range []time.Duration{time.Millisecond, 10 * ms, 100 * ms} {
		for _, tail := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("rtt=%v tail=%d", 2*oneWay, tail), func(t *testing.T) {
				p := newPair(t, Config{}, Config{})
				p.eachLink(func(l *link) { l.delay = oneWay })
				f := p.open(p.a, "", nil)
				var r *Receiver
				for range 100 { // so that the round trip is known well
					p.send1(f, []byte("warm"))
					if r == nil {
						r = p.accept(p.b)
					}
					p.recv(r)
					p.run(2*oneWay + 30*ms)
				}
				const packets = 8
				n := 0
				p.a.filter = func(uint64, []byte) bool { n++; return n > packets-tail && n <= packets }
				start := p.now
				p.send1(f, pattern(packets*1171-200, 1))
				p.recv(r)
				took := p.now.Sub(start)
				limit := 3*oneWay + 25*ms + 4*ms // and what pacing spreads eight packets over
				if tail > 2 {
					limit += 2 * oneWay // a probe says what is oldest; what it shows to be lost comes next
				}
				if n < packets+1 {
					t.Fatalf("%d packets sent; was the tail lost?", n)
				}
				t.Logf("%v, PTO %v", took, p.a.m.PTO())
				if took > limit {
					t.Errorf("%d lost packets at the end cost %v, want at most %v", tail, took, limit)
				}
			})
		}
	}
}

// TestLastAckLost: the acknowledgement of the last packet is lost; the sender asks again and learns.
func TestLastAckLost(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	f := p.open(p.a, "", nil)
	p.send1(f, []byte("first"))
	r := p.accept(p.b)
	p.recv(r)
	p.run(time.Second)
	for lost := range 4 {
		n := 0
		p.b.filter = func(uint64, []byte) bool { n++; return n <= lost }
		start := p.now
		receipt := p.send1(f, []byte("last"))
		p.until(time.Minute, "the receipt is resolved", func() bool { return receipt.Outcome() == Delivered })
		// Each further timeout is twice as long as the one before: 1 + 2 + 4 … of them.
		pto := 60 * ms
		if d, limit := p.now.Sub(start), pto<<lost; d > limit {
			t.Errorf("%d acknowledgements lost: known to be delivered after %v, want at most %v", lost, d, limit)
		}
		if d := p.b.m.Stats().BytesDuplicate; lost > 0 && d == 0 {
			t.Errorf("nothing was said again though %d acknowledgements were lost", lost)
		}
		p.run(recovery.MaxPTO)
		if msgs, _ := take(r); len(msgs) != 1 {
			t.Errorf("%d messages, want one", len(msgs))
		}
	}
}
