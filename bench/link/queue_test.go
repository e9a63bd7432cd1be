// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// pop reports whether there was a packet.
func pop(q *Queue, now time.Duration) bool {
	data, _ := q.Pop(now)
	return data != nil
}

// arrivals pops everything there is and returns when each packet came out, going from event to event.
func arrivals(q *Queue) []time.Duration {
	var out []time.Duration
	for {
		at, ok := q.Next()
		if !ok {
			return out
		}
		for pop(q, at) {
			out = append(out, at)
		}
	}
}

func TestQueueTimes(t *testing.T) {
	// 1000 bytes at 8 Mbit/s take 1 ms.
	q := NewQueue(8e6, 20*ms, 10_000, 0, 1)
	for range 3 {
		q.Push(0, make([]byte, 1000))
	}
	q.Push(10*ms, make([]byte, 500))
	got := arrivals(q)
	want := []time.Duration{21 * ms, 22 * ms, 23 * ms, 30*ms + 500*time.Microsecond}
	if len(got) != len(want) {
		t.Fatalf("%d packets arrived, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("packet %d arrived at %v, want %v: one after the other, then the delay", i, got[i], want[i])
		}
	}
}

func TestQueueDropsAtTheTail(t *testing.T) {
	q := NewQueue(8e6, 0, 5000, 0, 1)
	took := 0
	for range 10 {
		if q.Push(0, make([]byte, 1000)) {
			took++
		}
	}
	// One is being sent, five wait.
	if took != 6 || q.Dropped != 4 || q.Waiting() != 5000 {
		t.Errorf("took %d, dropped %d, %d bytes wait; want 6, 4 and 5000", took, q.Dropped, q.Waiting())
	}
	if !q.Push(ms, make([]byte, 1000)) {
		t.Error("no room after one packet had left")
	}
	// A packet that may be sent at once needs no buffer.
	if q := NewQueue(8e6, 0, 0, 0, 1); !q.Push(0, make([]byte, 1000)) || q.Push(0, make([]byte, 1000)) {
		t.Error("without a buffer an idle link must take one packet, and a busy one none")
	}
}

func TestQueueWait(t *testing.T) {
	q := NewQueue(8e6, 0, 1<<20, 0, 1)
	var waits []time.Duration
	q.Passed = func(_ time.Duration, _ int, wait time.Duration) { waits = append(waits, wait) }
	for range 101 {
		q.Push(0, make([]byte, 1000))
	}
	arrivals(q)
	if last := waits[len(waits)-1]; last != 100*ms {
		t.Errorf("the packet behind 100 others waited %v, want 100ms", last)
	}
}

func TestQueueRate(t *testing.T) {
	q := NewQueue(8e6, 0, 1<<20, 0, 1)
	for range 4 {
		q.Push(0, make([]byte, 1000))
	}
	q.SetRate(1500*time.Microsecond, 2e6) // the second is under way at the old rate
	got := arrivals(q)
	if n := len(got); n != 4 || got[n-1] != 10*ms || got[n-2] != 6*ms {
		t.Errorf("arrivals %v, want the last two at 6ms and 10ms: at a quarter of the rate", got)
	}
}

// TestQueueLong sends for a minute of virtual time and expects the rate to the byte: errors of rounding must not add up.
func TestQueueLong(t *testing.T) {
	const rate, size = 20e6, 1500
	q := NewQueue(rate, 20*ms, 250_000, 0, 1)
	bytes := 0
	for now := time.Duration(0); now < time.Minute; now += 500 * time.Microsecond { // 24 Mbit/s are offered
		q.Push(now, make([]byte, size))
		for pop(q, now) {
			bytes += size
		}
	}
	want := rate / 8 * (time.Minute - 20*ms).Seconds()
	if got := float64(bytes); got < want-2*size || got > want {
		t.Errorf("%v bytes in a minute, want %v", got, want)
	}
}

func TestQueueLoss(t *testing.T) {
	const n, loss = 100_000, 0.05
	count := func(seed uint64) (lost uint64, first int) {
		q := NewQueue(1e9, 0, 1500, loss, seed)
		first = -1
		for i := range n {
			now := time.Duration(i) * ms
			q.Push(now, make([]byte, 100))
			if q.Lost > 0 && first < 0 {
				first = i
			}
			for pop(q, now) { // all of them
			}
		}
		return q.Lost, first
	}
	lost, first := count(1)
	if f := float64(lost) / n; f < 0.046 || f > 0.054 {
		t.Errorf("%.4f of the packets were lost, want %v", f, loss)
	}
	if again, at := count(1); again != lost || at != first {
		t.Error("the same seed lost other packets: a run could not be repeated")
	}
	if _, at := count(2); at == first {
		t.Error("another seed lost the same packet first")
	}
}
