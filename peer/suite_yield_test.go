// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A meter notes when how much of a flow arrives, and how late.
type meter struct {
	mu     sync.Mutex
	at     []time.Time
	bytes  []int
	delays []time.Duration
}

// read reads the next flow of s to its end. Messages begin with the time at which they were sent.
func (m *meter) read(t *testing.T, s *peer.Session) {
	r, err := s.AcceptFlow(t.Context())
	for err == nil {
		var msg flow.Message
		if msg, err = r.Recv(t.Context()); err == nil {
			sent := time.Unix(0, int64(binary.BigEndian.Uint64(msg.Data)))
			m.mu.Lock()
			m.at = append(m.at, time.Now())
			m.bytes = append(m.bytes, len(msg.Data))
			m.delays = append(m.delays, time.Since(sent))
			m.mu.Unlock()
			msg.Release()
		}
	}
}

// during returns the rate at which data came, in bits per second, and the 95th percentile of its delay.
func (m *meter) during(from, to time.Time) (rate float64, p95 time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ds []time.Duration
	for i, at := range m.at {
		if !at.Before(from) && at.Before(to) {
			rate += float64(m.bytes[i]) * 8
			ds = append(ds, m.delays[i])
		}
	}
	if len(ds) > 0 {
		slices.Sort(ds)
		p95 = ds[len(ds)*95/100]
	}
	return rate / to.Sub(from).Seconds(), p95
}

// Bulk from two peers makes room for time-critical data from another, within a second, on a downlink that none of them
// can see the others at; and takes it back when that ends. Where nobody asks for it, because the two go to different
// endpoints behind the same downlink, it does not. RFC 7016 §3.5.2.1.
func TestBulkMakesRoomOnTheDownlink(t *testing.T) {
	const capacity = 4e6
	measure := func(t *testing.T, asked bool) (before, during, after, need float64, late time.Duration) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, NoRelay: true, Seed: 7})
		host := n.Host(peertest.Public)
		b := host.Endpoint(nil)
		c := b
		if !asked {
			c = host.Endpoint(nil)
		}
		videoEnd, video := meet(t, b, n.Endpoint(peertest.Public, nil))
		host.Condition(peer.Conditions{}, peer.Conditions{Bandwidth: capacity, QueueDelay: 200 * time.Millisecond})
		var gotBulk, gotVideo meter
		go gotVideo.read(t, videoEnd)
		var files []*flow.Sender
		for range 2 {
			bulkEnd, bulk := meet(t, c, n.Endpoint(peertest.Public, nil))
			file, err := bulk.OpenFlow("file", &flow.Options{Priority: flow.Bulk, SendBuffer: 100_000})
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
			go gotBulk.read(t, bulkEnd)
		}
		call, err := video.OpenFlow("video", &flow.Options{Priority: flow.Urgent, FinishWithin: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		send := func(f *flow.Sender, size int) {
			msg := make([]byte, size)
			binary.BigEndian.PutUint64(msg, uint64(time.Now().UnixNano()))
			if _, err := f.TrySend(msg); err != nil && !errors.Is(err, flow.ErrWouldBlock) {
				t.Fatal(err)
			}
		}
		const tick = 20 * time.Millisecond
		work := func(d time.Duration, talk bool) (from, to time.Time) {
			from = time.Now()
			for range d / tick {
				for _, file := range files { // twice what the downlink carries
					send(file, 10_000)
				}
				if talk {
					send(call, 5000) // 2 Mbit/s, half of it
				}
				time.Sleep(tick)
			}
			return from, time.Now()
		}
		work(time.Second, false)
		before, _ = gotBulk.during(work(time.Second, false))
		work(time.Second, true)
		from, _ := work(time.Second, true)
		during, _ = gotBulk.during(from, time.Now())
		from, to := work(2*time.Second, true)
		got, late := gotVideo.during(from, to)
		work(3*time.Second, false)
		after, _ = gotBulk.during(work(time.Second, false))
		return before, during, after, got / (5000 * 8 / tick.Seconds()), late
	}
	bubble(t, func(t *testing.T) {
		before, during, after, need, late := measure(t, true)
		t.Logf("bulk %.2f, then %.2f, then %.2f Mbit/s; video %.3f of its need, p95 %v", before/1e6, during/1e6, after/1e6, need, late)
		if before < 0.85*capacity {
			t.Errorf("%.0f bit/s of bulk alone, want most of %.0f", before, capacity)
		}
		if during > 0.6*before || during < 0.05*capacity {
			t.Errorf("%.0f bit/s of bulk from a second after time-critical data began, want about half at most, and something", during)
		}
		if need < 0.9 || late > 250*time.Millisecond {
			t.Errorf("%.3f of the time-critical data arrives, 95 in 100 within %v; want 0.9 and 250ms", need, late)
		}
		if after < 0.8*capacity {
			t.Errorf("%.0f bit/s of bulk three seconds after it ended, want most of %.0f again", after, capacity)
		}
	})
	if testing.Short() {
		return
	}
	bubble(t, func(t *testing.T) {
		_, during, _, need, late := measure(t, false)
		t.Logf("nobody asks: bulk %.2f Mbit/s; video %.3f of its need, p95 %v", during/1e6, need, late)
		if late < 300*time.Millisecond {
			t.Errorf("%.3f of the time-critical data arrives, 95 in 100 within %v, though nobody asks for room: nothing is proven", need, late)
		}
	})
}
