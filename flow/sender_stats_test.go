// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"runtime"
	"testing"
	"time"
)

// TestSenderStats follows three messages through a flow that is blocked, then loses a packet.
func TestSenderStats(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	s := p.open(p.a, "stats", nil)
	if st := s.Stats(); st != (SenderStats{}) {
		t.Errorf("stats of a new flow: %+v, want none", st)
	}
	first := p.send1(s, nil)
	p.until(time.Minute, "the flow is open", func() bool { return first.Outcome() == Delivered })
	s.flowLimit = s.flowUsed + 64 + 1000
	p.send1(s, pattern(2000, 1))
	p.run(100 * time.Millisecond)
	p.send1(s, pattern(500, 1))
	p.run(50 * time.Millisecond)
	st := s.Stats()
	if st.Queued != 1 || st.QueuedBytes != 1500 || st.Sent != 2 || st.Delivered != 1 || !st.Blocked || st.TimesBlocked != 1 {
		t.Errorf("stats of a blocked flow: %+v", st)
	}
	if q, u := st.QueueAge(p.now), st.UnackedAge(p.now); q != 50*time.Millisecond || u != 150*time.Millisecond {
		t.Errorf("oldest in the queue %v, oldest unacknowledged %v, want 50ms and 150ms", q, u)
	}
	p.a.link.loss = 1
	s.flowLimit = 1 << 20
	p.a.m.unblock(s)
	p.run(time.Millisecond)
	p.a.link.loss = 0
	p.run(2 * time.Second)
	st = s.Stats()
	if st.Queued+st.QueuedBytes+st.InFlight != 0 || st.Delivered != 3 || st.Blocked || !st.QueuedSince.IsZero() ||
		!st.UnackedSince.IsZero() {
		t.Errorf("stats when everything is delivered: %+v", st)
	}
	if st.Retransmitted == 0 || st.RetransmittedBytes != 1500 || st.AllAbandoned() != 0 {
		t.Errorf("stats after a loss: %+v, want 1500 bytes sent again", st)
	}
}

// TestUnreachablePeer abandons messages of which the peer cannot be told. What must be remembered of them is bounded.
func TestUnreachablePeer(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	s := p.open(p.a, "", &Options{StartWithin: 5 * time.Millisecond})
	first := p.send1(s, nil)
	p.until(time.Minute, "the flow is open", func() bool { return first.Outcome() == Delivered })
	p.eachLink(func(l *link) { l.loss = 1 })
	n := 0
	for ; n < 2*maxGaps; n++ {
		if _, err := s.TrySend(pattern(1000, 1)); err != nil {
			if !errors.Is(err, ErrWouldBlock) {
				t.Fatal(err)
			}
			if s.gapsKnown >= maxGaps {
				break
			}
		}
		p.run(time.Millisecond)
	}
	if n < maxGaps || n > maxGaps+100 {
		t.Errorf("%d messages were taken, want hardly more than %d", n, maxGaps)
	}
	p.eachLink(func(l *link) { l.loss = 0 })
	p.until(time.Minute, "the peer has been told", func() bool { return s.gaps == 0 })
	if err := s.WaitWritable(over); err != nil {
		t.Errorf("WaitWritable: %v", err)
	}
	last := p.send1(s, nil)
	p.run(time.Second)
	wantReason(t, last, NotAbandoned)
	if err := p.closeFlow(s); err != nil {
		t.Errorf("Close: %v", err)
	}
	p.recvErr(p.accept(p.b))
	p.run(time.Second)
	p.wantNoLeak()
}

// TestIdleMemory bounds what a flow takes that has sent something once.
func TestIdleMemory(t *testing.T) {
	const n = 5000
	p := newPair(t, Config{}, Config{})
	senders := make([]*Sender, 0, n)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range n {
		s := p.open(p.a, "idle", nil)
		for range 3 {
			if _, err := s.TrySend([]byte("hello, world")); err != nil {
				t.Fatal(err)
			}
		}
		senders = append(senders, s)
		if i%50 == 49 {
			p.run(30 * time.Millisecond)
		}
	}
	p.run(time.Second)
	for _, s := range senders {
		if st := s.Stats(); st.Delivered != 3 {
			t.Fatalf("%+v, want three messages delivered", st)
		}
	}
	p.b.m.Close(p.now, errTestOver) // so that only the senders are weighed
	p.b.m, p.b.seen, p.flight = NewMux(nil), nil, nil
	per := float64(heap()-before) / n
	runtime.KeepAlive(senders)
	t.Logf("%.0f bytes per flow", per)
	if !raceEnabled && per > 2500 {
		t.Errorf("%.0f bytes for an idle flow, want at most 2500", per)
	}
}
