// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"container/heap"
	"time"
)

// What a link holds at most, in the queue and under way together.
const (
	maxPackets = 1 << 15
	maxBytes   = 32 << 20
)

// A Link is one direction of a bad network. M is what belongs to a packet beside its bytes, such as an address. The zero
// value lets everything through at once. A Link needs a lock if several goroutines use it.
type Link[M any] struct {
	s    Settings // clamped; meaningless before the first Set
	luck luck

	queue  []packet[M] // wait for the bandwidth, the first being on its way out
	head   int         // index in queue of the first
	bytes  int         // in the queue, the first included
	outAt  time.Time   // when the first is out
	flight flight[M]
	last   time.Time // when the last orderly packet under way is due
	seq    uint64

	count int // packets held, and twins to be
	held  int // bytes of both
	free  [][]byte
	stats Stats
}

// A packet is on its way through a link.
type packet[M any] struct {
	due   time.Time
	seq   uint64 // order among those due at the same time
	delay time.Duration
	loose bool // may be overtaken and overtake
	twin  bool // arrives twice
	data  []byte
	meta  M
}

// Stats count packets since the link began. Packets plus Duplicated is the sum of Delivered, Lost, QueueFull, Overflow,
// Discarded and Held.
type Stats struct {
	Packets   uint64 // that came in
	Delivered uint64 // that came out, twins included

	Lost      uint64 // by chance
	QueueFull uint64 // dropped because too much waited for the bandwidth
	Overflow  uint64 // dropped because the link holds as much as it can
	Discarded uint64 // thrown away while held

	Delayed    uint64 // did not come out at the time they came in
	Reordered  uint64 // held back
	Duplicated uint64
	Corrupted  uint64

	Held      int // packets in the link now
	HeldBytes int // of memory, at least
}

// Set changes what the link does from now on. Packets under way keep their delay: those that follow overtake them if
// the delay is made shorter. Packets that wait for the bandwidth leave at the new one. A changed seed begins anew.
func (l *Link[M]) Set(now time.Time, s Settings) {
	l.advance(now)
	old := l.s
	l.s = s.clamped()
	if old.Seed != s.Seed || l.luck.rng == nil {
		l.luck.seed(s.Seed)
	}
	if l.s.Delay+l.s.Jitter < old.Delay+old.Jitter {
		l.last = time.Time{}
	}
	switch {
	case l.waiting() == 0:
	case l.s.Bandwidth == 0:
		for l.waiting() > 0 {
			l.launch(l.dequeue(), now)
		}
	case l.s.Bandwidth != old.Bandwidth:
		left := float64(l.outAt.Sub(now)) * float64(old.Bandwidth) / float64(l.s.Bandwidth)
		l.outAt = now.Add(time.Duration(left))
	}
}

// Push puts a packet into the link, which copies b. It reports whether the packet will come out.
func (l *Link[M]) Push(now time.Time, b []byte, meta M) bool {
	l.advance(now)
	l.stats.Packets++
	f := l.luck.draw(&l.s, len(b))
	need := 1
	if f.twin {
		need = 2
	}
	switch {
	case f.lost:
		l.stats.Lost++
		return false
	case l.count+need > maxPackets || l.held+need*len(b) > maxBytes:
		l.stats.Overflow++
		return false
	case l.queueFull(now, len(b)):
		l.stats.QueueFull++
		return false
	}
	p := packet[M]{data: append(l.buffer(), b...), meta: meta, delay: l.s.Delay + f.jitter, twin: f.twin}
	if p.loose = l.s.JitterReorders; f.held {
		l.stats.Reordered++
		p.delay += l.s.ReorderDelay
		p.loose = true
	}
	if f.flip >= 0 {
		l.stats.Corrupted++
		p.data[f.flip/8] ^= 1 << (f.flip % 8)
	}
	l.count += need
	l.held += need * len(b)
	if l.s.Bandwidth == 0 {
		if p.delay > 0 {
			l.stats.Delayed++
		}
		l.launch(p, now)
		return true
	}
	l.stats.Delayed++
	if l.waiting() == 0 {
		l.outAt = now.Add(l.s.serialize(len(b)))
	}
	l.queue = append(l.queue, p)
	l.bytes += len(b)
	return true
}

// queueFull says whether a packet of n bytes would find too much before it. There is always room for one that can leave
// at once, or the bandwidth would be nothing.
func (l *Link[M]) queueFull(now time.Time, n int) bool {
	if l.s.Bandwidth == 0 || l.waiting() == 0 {
		return false
	}
	behind := l.bytes - len(l.queue[l.head].data)
	wait := l.outAt.Sub(now) + l.s.serialize(behind)
	return l.s.QueueDelay > 0 && wait > l.s.QueueDelay || l.s.QueueBytes > 0 && behind+n > l.s.QueueBytes
}

func (l *Link[M]) waiting() int { return len(l.queue) - l.head }

// dequeue takes the first packet out of the queue.
func (l *Link[M]) dequeue() packet[M] {
	p := l.queue[l.head]
	l.queue[l.head] = packet[M]{}
	l.head++
	l.bytes -= len(p.data)
	switch {
	case l.head == len(l.queue):
		l.queue, l.head = l.queue[:0], 0
	case l.head >= 64 && 2*l.head >= len(l.queue):
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
	return p
}

// advance sends on what the bandwidth has let out by now.
func (l *Link[M]) advance(now time.Time) {
	for l.waiting() > 0 && !l.outAt.After(now) {
		l.launch(l.dequeue(), l.outAt)
		if l.waiting() > 0 {
			l.outAt = l.outAt.Add(l.s.serialize(len(l.queue[l.head].data)))
		}
	}
}

// launch puts a packet on its way at a time.
func (l *Link[M]) launch(p packet[M], at time.Time) {
	p.due = at.Add(p.delay)
	if !p.loose {
		if p.due.Before(l.last) {
			p.due = l.last
		}
		l.last = p.due
	}
	l.seq++
	p.seq = l.seq
	twin := p.twin
	p.twin = false
	heap.Push(&l.flight, p)
	if !twin {
		return
	}
	l.stats.Duplicated++
	l.seq++
	p.seq, p.data = l.seq, append(l.buffer(), p.data...)
	heap.Push(&l.flight, p)
}

// Pop returns the next packet that is due, if any. The bytes are the caller's, who may give them back by Release.
func (l *Link[M]) Pop(now time.Time) (b []byte, meta M, ok bool) {
	l.advance(now)
	if len(l.flight) == 0 || l.flight[0].due.After(now) {
		return nil, meta, false
	}
	p := l.flight.take()
	l.count--
	l.held -= len(p.data)
	l.stats.Delivered++
	return p.data, p.meta, true
}

// Next returns when Pop has something to do; zero: never, for the link is empty. The time may be in the past.
func (l *Link[M]) Next() time.Time {
	var next time.Time
	if len(l.flight) > 0 {
		next = l.flight[0].due
	}
	if l.waiting() > 0 && (next.IsZero() || l.outAt.Before(next)) {
		next = l.outAt
	}
	return next
}

// Discard throws away what the link holds.
func (l *Link[M]) Discard() {
	l.stats.Discarded += uint64(l.waiting() + len(l.flight))
	l.queue, l.head, l.bytes, l.flight, l.count, l.held, l.free = nil, 0, 0, nil, 0, 0, nil
	l.last = time.Time{}
}

// Stats returns the counters.
func (l *Link[M]) Stats() Stats {
	st := l.stats
	st.Held, st.HeldBytes = l.waiting()+len(l.flight), l.held
	return st
}

const (
	maxFree     = 64
	maxFreeSize = 2048
)

// Release gives back bytes that Pop has returned. The caller must not touch them afterwards.
func (l *Link[M]) Release(b []byte) {
	if len(l.free) < maxFree && cap(b) <= maxFreeSize {
		l.free = append(l.free, b)
	}
}

// buffer returns an empty slice to append a packet to.
func (l *Link[M]) buffer() []byte {
	n := len(l.free)
	if n == 0 {
		return nil
	}
	b := l.free[n-1]
	l.free = l.free[:n-1]
	return b[:0]
}

// A flight is a heap of packets, the next one due first.
type flight[M any] []packet[M]

func (f flight[M]) Len() int { return len(f) }
func (f flight[M]) Less(i, j int) bool {
	if f[i].due.Equal(f[j].due) {
		return f[i].seq < f[j].seq
	}
	return f[i].due.Before(f[j].due)
}
func (f flight[M]) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flight[M]) Push(x any)   { *f = append(*f, x.(packet[M])) } //nolint:forcetypeassert // only launch pushes
func (f *flight[M]) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = packet[M]{}
	*f = old[:len(old)-1]
	return last
}

func (f *flight[M]) take() packet[M] {
	return heap.Pop(f).(packet[M]) //nolint:forcetypeassert // only packets are in it
}
