// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// openUnknown opens a flow with a critical option that nobody knows.
func openUnknown(id uint64) []byte {
	body := wire.AppendVarint(nil, id)
	body = append(body, 0, 0, 0x1f, 0)
	return wire.AppendChunk(nil, wire.ChunkFlowOpen, body)
}

// TestRejectStorm: a peer that never acknowledges opens flows that the machine itself rejects, and ends them.
func TestRejectStorm(t *testing.T) {
	const limit = 10_000
	f := newFeed(t, Config{MaxIncomingFlows: limit})
	var pn uint64
	for id := range uint64(5 * limit) {
		if err := f.chunks(openUnknown(id), ints(wire.ChunkFlowAbort, id, 0, 0)); err != nil {
			break
		}
		if id%64 == 0 {
			if b := f.m.Append(epoch, pn, nil, 1171); len(b) > 0 {
				f.m.Sent(epoch, pn, len(b), false)
				pn++
			}
		}
	}
	if n := f.m.rejecting; n > limit+limit/8 {
		t.Errorf("%d rejections are remembered, want at most about the %d flows that may be open", n, limit)
	}
}

// TestAcceptQueue: flows that the application has not accepted must count as open, refused or not.
func TestAcceptQueue(t *testing.T) {
	const limit = 10_000
	f := newFeed(t, Config{MaxIncomingFlows: limit})
	for id := range uint64(5 * limit) {
		err := f.chunks(open(id), data(id, 0, wire.DefaultMaxMessage, 1, false), ints(wire.ChunkFlowAbort, id, 0, 0))
		if err != nil {
			break
		}
		if id%64 == 0 {
			f.m.collect()
		}
	}
	if n := f.m.acceptq.len(); n > limit+limit/8 {
		t.Errorf("%d flows wait to be accepted, want at most the %d that may be open", n, limit)
	}
}

// TestRejectAfterTooLarge: Reject of a flow that the machine has refused already must give its credit back.
func TestRejectAfterTooLarge(t *testing.T) {
	f := newFeed(t, Config{})
	if err := f.chunks(open(0), data(0, 0, 0, 1000, true), data(0, 1, wire.DefaultMaxMessage, 1, false),
		ints(wire.ChunkFlowAbort, 0, 0, 1000+wire.MessageCost)); err != nil {
		t.Fatal(err)
	}
	r, err := f.m.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Reject(1)
	f.m.collect()
	if f.m.recvConsumed != f.m.recvUsed || r.queue.len() != 0 {
		t.Errorf("given back %d of %d, %d messages kept; want all and none", f.m.recvConsumed, f.m.recvUsed, r.queue.len())
	}
}

// TestTinyMessagesBehindLoss: an honest sender of tiny messages, within all credit, loses the first packet of
// each of a few flows.
func TestTinyMessagesBehindLoss(t *testing.T) {
	for _, test := range []struct {
		name   string
		window int
		flows  uint64
	}{{"default window, 6 flows", 0, 6}, {"16 MiB window, 1 flow", 16 << 20, 1}} {
		t.Run(test.name, func(t *testing.T) {
			f := newFeed(t, Config{RecvWindow: test.window})
			for id := range test.flows {
				if err := f.chunks(open(id), data(id, 1, 0, 16<<10, true)); err != nil { // makes the window open up
					t.Fatal(err)
				}
			}
			f.m.Append(epoch, 0, nil, 1171)
			for seq := uint64(2); seq < 80_000; seq++ {
				for id := range test.flows {
					r := f.m.receivers[id]
					if r.used+wire.MessageCost+1 > r.granted {
						continue
					}
					if err := f.chunks(data(id, seq, 0, 1, true)); err != nil {
						t.Fatalf("after %d messages of one byte: %v", seq, err)
					}
				}
			}
		})
	}
}

// TestNoReturns: with Options.Returns of 0 no answer can come, and AcceptReturn must say so.
func TestNoReturns(t *testing.T) {
	for _, returns := range []int{0, -1} {
		synctest.Test(t, func(t *testing.T) {
			c := newConn(t, Config{}, Config{})
			s, _ := c.a.Open("x", &Options{Returns: returns})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.Close(ctx); err != nil {
				t.Error(err)
			}
			if _, err := s.AcceptReturn(ctx); !errors.Is(err, ErrClosed) {
				t.Errorf("Returns %d: AcceptReturn = %v, want ErrClosed: none is expected", returns, err)
			}
			c.end()
			ctx2, cancel2 := context.WithTimeout(t.Context(), time.Minute)
			defer cancel2()
			if _, err := s.AcceptReturn(ctx2); errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Returns %d: AcceptReturn hangs although the session is over", returns)
			}
		})
	}
}

// TestStreamCloseAfterDeadline: a closed stream is closed, whatever its deadline was. A caller that moves the
// deadline and tries again after a timeout would spin for ever otherwise.
func TestStreamCloseAfterDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		a, _ := streams(t, c)
		_ = a.SetDeadline(time.Now().Add(-time.Second))
		_ = a.Close()
		_ = a.SetDeadline(time.Now().Add(time.Second))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("Read = %v, want ErrClosed", err)
		}
		if _, err := a.Write(make([]byte, 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("Write = %v, want ErrClosed", err)
		}
	})
}

// TestAbortedWhileAwaiting: flows that are given up before the peer lets them be opened must be forgotten.
func TestAbortedWhileAwaiting(t *testing.T) {
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	var pn uint64
	for range 5000 {
		s, err := m.Open("x", nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Announce()
		if b := m.Append(epoch, pn, nil, 1171); len(b) > 0 {
			m.Sent(epoch, pn, len(b), false)
			pn++
		}
		m.collect()
		if m.nextID < m.peerFlows {
			_ = m.loss.HandleAck(epoch, &wire.Ack{Ranges: []wire.AckRange{{Start: 0, End: pn}}})
		}
		s.Abort(1)
	}
	m.collect()
	if n := m.awaiting[1].len(); n > 100 {
		t.Errorf("%d flows wait for an ID, all of them aborted; want none", n)
	}
}
