// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// newDemux returns an endpoint that does nothing but sort, and the sessions with the IDs given, whose loops are not
// running.
func newDemux(ids ...wire.SessionID) (*Endpoint, map[wire.SessionID]*Session) {
	e, sessions := &Endpoint{cfg: &Config{}}, make(map[wire.SessionID]*Session)
	for _, id := range ids {
		sessions[id] = &Session{e: e, wake: make(chan struct{}, 1)}
		e.routes.Store(id, sessions[id])
	}
	return e, sessions
}

// packetFor returns a packet of n bytes whose last two say which it is.
func packetFor(id wire.SessionID, n, number int) []byte {
	b := make([]byte, n)
	wire.AppendHeader(b[:0], id, false, 0, -1)
	binary.BigEndian.PutUint16(b[n-2:], uint16(number))
	return b
}

// fill copies packets into a buffer as one read would.
func fill(pkts ...[]byte) (*udp.Buffer, udp.Batch) {
	buf := udp.GetBuffer(udp.MaxBatch)
	r := udp.Batch{Segment: len(pkts[0]), From: netip.MustParseAddrPort("192.0.2.1:9"), ECN: wire.CE}
	for _, p := range pkts {
		r.N += copy(buf.Bytes()[r.N:], p)
	}
	return buf, r
}

// numbers returns the packets in a session's inbox, one train after the other, and empties it.
func numbers(e *Endpoint, s *Session) (trains []string) {
	for _, t := range s.inbox.take() {
		var in []uint16
		for b := t.b; len(b) > 0; {
			n := min(t.segment, len(b))
			in = append(in, binary.BigEndian.Uint16(b[n-2:]))
			b = b[n:]
		}
		trains = append(trains, fmt.Sprint(in))
		s.forgetTrain(&t)
	}
	return trains
}

func TestHandleBatch(t *testing.T) {
	const n = 1000
	stun, unknown := make([]byte, n), make([]byte, n)
	unknown[0] = 100
	for _, tt := range []struct {
		name     string
		pkts     [][]byte
		one, two string
		kept     bool // the buffer is used by sessions
		drops    int
	}{
		{name: "one packet is copied", pkts: [][]byte{packetFor(1, n, 1)}, one: "[[1]]"},
		{name: "a short train is copied", pkts: [][]byte{packetFor(1, n, 1), packetFor(1, n, 2), packetFor(1, 500, 3)}, one: "[[1 2 3]]"},
		{name: "two sessions", pkts: [][]byte{packetFor(1, n, 1), packetFor(1, n, 2), packetFor(2, n, 3), packetFor(1, n, 4)}, one: "[[1 2] [4]]", two: "[[3]]"},
		{name: "strangers between", pkts: [][]byte{packetFor(1, n, 1), stun, packetFor(1, n, 2), unknown, packetFor(1, n, 3)}, one: "[[1] [2] [3]]", drops: 2},
		{name: "no session", pkts: [][]byte{packetFor(3, n, 1), packetFor(3, n, 2), packetFor(2, n, 3)}, two: "[[3]]", drops: 2},
		{name: "cut short", pkts: [][]byte{packetFor(1, n, 1), packetFor(1, n, 2)[:5]}, one: "[[1]]", drops: 1},
		{name: "a long train is kept", pkts: train20(1), one: "[[0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19]]", kept: true},
		{
			name: "long trains of two", pkts: append(train20(1), train20(2)...), kept: true,
			one: "[[0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19]]", two: "[[0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19]]",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, sessions := newDemux(1, 2)
			buf, r := fill(tt.pkts...)
			e.handleBatch(buf, r)
			if buf.Shared() != tt.kept {
				t.Errorf("the buffer is shared: %v, want %v", buf.Shared(), tt.kept)
			}
			if !tt.kept {
				clear(buf.Bytes()) // as the next read would
			}
			buf.Release()
			for id, want := range map[wire.SessionID]string{1: tt.one, 2: tt.two} {
				if want == "" {
					want = "[]"
				}
				if got := fmt.Sprint(numbers(e, sessions[id])); got != want {
					t.Errorf("session %d got %v, want %v", id, got, want)
				}
			}
			if got := e.queued.Load(); got != 0 {
				t.Errorf("%d bytes count as queued when nothing is", got)
			}
			if got := int(e.Dropped()); got != tt.drops {
				t.Errorf("%d datagrams dropped, want %d", got, tt.drops)
			}
		})
	}
}

func train20(id wire.SessionID) (pkts [][]byte) {
	for i := range 20 {
		pkts = append(pkts, packetFor(id, 1000, i))
	}
	return pkts
}

func TestHandleBatchPassesMarkOn(t *testing.T) {
	e, sessions := newDemux(1)
	buf, r := fill(packetFor(1, 100, 1))
	defer buf.Release()
	e.handleBatch(buf, r)
	if q := sessions[1].inbox.take(); len(q) != 1 || q[0].mark != wire.CE || q[0].from != r.From {
		t.Errorf("inbox is %+v, want one packet marked CE from %v", q, r.From)
	}
}

func TestEmptyBatch(t *testing.T) {
	e, _ := newDemux()
	buf := udp.GetBuffer(udp.MaxBatch)
	defer buf.Release()
	e.handleBatch(buf, udp.Batch{})
	if e.Dropped() != 1 {
		t.Errorf("%d datagrams dropped, want the empty one", e.Dropped())
	}
}

// TestInboxCaps fills an inbox with trains of every kind until it takes no more.
func TestInboxCaps(t *testing.T) {
	for _, tt := range []struct {
		name           string
		size, packets  int // of a train
		wantN, wantMem int
	}{
		{"small packets", 100, 1, maxInbox, maxInbox * udp.BufferSize},
		{"large packets", 8952, 1, maxInboxBytes / (16 << 10), maxInboxBytes},
		{"long trains", 1200, 50, (maxInbox + 49) / 50 * 50, (maxInbox + 49) / 50 * udp.MaxBatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, sessions := newDemux(1)
			s := sessions[1]
			pkts := make([][]byte, tt.packets)
			for i := range pkts {
				pkts[i] = packetFor(1, tt.size, i)
			}
			sent := 0
			for e.Dropped() == 0 && sent <= 1<<20 {
				buf, r := fill(pkts...)
				e.handleBatch(buf, r)
				buf.Release()
				sent += tt.packets
			}
			if got := sent - tt.packets; got != tt.wantN || s.inbox.packets != got {
				t.Errorf("the inbox takes %d packets and counts %d, want %d", got, s.inbox.packets, tt.wantN)
			}
			if int(e.Dropped()) != tt.packets {
				t.Errorf("%d packets dropped, want the %d of one train", e.Dropped(), tt.packets)
			}
			if got := int(e.queued.Load()); got != tt.wantMem || s.inbox.bytes != got {
				t.Errorf("%d bytes are queued and %d counted, want %d", got, s.inbox.bytes, tt.wantMem)
			}
			e.queued.Add(-int64(s.inbox.close()))
			if e.queued.Load() != 0 {
				t.Errorf("%d bytes count as queued in a closed inbox", e.queued.Load())
			}
			buf, r := fill(pkts...)
			defer buf.Release()
			if e.handleBatch(buf, r); e.queued.Load() != 0 {
				t.Error("a closed inbox takes packets")
			}
		})
	}
}

func TestEndpointQueueCap(t *testing.T) {
	e, _ := newDemux(1)
	e.queued.Store(maxQueued)
	buf, r := fill(packetFor(1, 100, 1))
	defer buf.Release()
	if e.handleBatch(buf, r); e.Dropped() != 1 {
		t.Errorf("%d packets dropped by an endpoint whose queues are full, want 1", e.Dropped())
	}
}
