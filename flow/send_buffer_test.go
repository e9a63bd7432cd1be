// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

// stuff queues messages of n bytes on a flow until it takes no more, and returns how many it took.
func stuff(t *testing.T, s *Sender, n int) (taken int) {
	t.Helper()
	for {
		_, err := s.TrySend(make([]byte, n))
		switch {
		case errors.Is(err, ErrWouldBlock):
			return taken
		case err != nil:
			t.Fatal(err)
		}
		taken++
	}
}

// TestSendersShareABuffer fills many flows towards a peer that does not answer, and then one that does.
func TestSendersShareABuffer(t *testing.T) {
	const flows, size, limit = 100, 16 << 10, 1 << 20
	p := newPair(t, Config{SessionSendBuffer: limit}, Config{RecvWindow: 2 * limit})
	p.a.filter = func(uint64, []byte) bool { return true }
	early := p.open(p.a, "", nil)
	p.send1(early, make([]byte, 10))
	senders := make([]*Sender, flows)
	total := 0
	for i := range senders {
		s, err := p.a.m.Open("", nil)
		if err != nil {
			t.Fatal(err)
		}
		n := stuff(t, s, size)
		if n == 0 {
			t.Fatalf("flow %d takes nothing though nothing waits on it", i)
		}
		total += n * size
		senders[i] = s
	}
	if most := limit + flows*size; total > most || total < limit-size {
		t.Errorf("%d bytes were taken, want %d and a message for each flow", total, limit)
	}
	if err := early.WaitWritable(over); !errors.Is(err, context.Canceled) {
		t.Errorf("a flow on which a message waits has room (%v) though others have filled the buffer since", err)
	}
	p.run(time.Second)
	for i, s := range senders {
		if err := s.WaitWritable(over); !errors.Is(err, context.Canceled) {
			t.Fatalf("flow %d has room (%v) though nothing has arrived", i, err)
		}
	}

	// What some of them give up, others may use.
	for i, s := range senders {
		if i != 1 {
			s.Abort(1)
		}
	}
	p.run(time.Second)
	if n := stuff(t, senders[1], size); n == 0 {
		t.Errorf("no room after the other flows have been aborted, %d bytes waiting", p.a.m.buffered.Load())
	}

	p.a.filter = nil
	p.run(time.Minute)
	if n := p.a.m.buffered.Load(); n != 0 || senders[1].buffered != 0 {
		t.Errorf("%d bytes waiting, %d of them on the flow; want all delivered", n, senders[1].buffered)
	}
	if err := senders[1].WaitWritable(over); err != nil {
		t.Errorf("no room after all has been delivered: %v", err)
	}
}

// TestMemoryOfASilentPeer measures what a peer that takes part in everything but acknowledges nothing makes us keep.
func TestMemoryOfASilentPeer(t *testing.T) {
	for _, c := range []struct {
		name        string
		size, times int // of messages; how much memory may be taken, in buffers
	}{{"large", 60_000, 2}, {"tiny", 1, 4}} {
		t.Run(c.name, func(t *testing.T) {
			const limit = 2 << 20
			before := heapInUse()
			p := newPair(t, Config{SessionSendBuffer: limit}, Config{})
			m := p.a.m
			for range 8 {
				s, err := m.Open("", nil)
				if err != nil {
					t.Fatal(err)
				}
				stuff(t, s, c.size)
			}
			now, pn := epoch, uint64(0)
			for i := range uint64(20_000) {
				m.HandlePacketEnd(now, 3*i, true, 0) // the peer sends much
				for {
					b := m.Append(now, pn, nil, 1171)
					if len(b) == 0 {
						break
					}
					m.Sent(now, pn, len(b)+overhead, false)
					pn++
				}
				now = now.Add(time.Millisecond)
				if at := m.NextTimeout(); !at.IsZero() && !at.After(now) {
					m.HandleTimeout(now)
				}
			}
			took := int(heapInUse() - before)
			t.Logf("%d KiB for %d KiB that wait", took>>10, m.buffered.Load()>>10)
			if most := c.times*limit + 1<<20; took > most {
				t.Errorf("%d bytes of memory, want at most %d", took, most)
			}
			runtime.KeepAlive(p)
		})
	}
}

// heapInUse returns how many bytes are in use.
func heapInUse() int64 {
	var ms runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc)
}
