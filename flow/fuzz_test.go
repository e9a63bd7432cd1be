// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// FuzzChunks feeds arbitrary chunks to a mux: no panic, nothing but protocol errors, and memory within bounds.
func FuzzChunks(f *testing.F) {
	var seed []byte
	for _, b := range [][]byte{
		open(0), data(0, 0, 0, 3, true), data(0, 2, 5, 3, false), skip(0, 1, 200, 0),
		ints(wire.ChunkFlowEnd, 0, 3, 300), open(1), ints(wire.ChunkFlowAbort, 1, 5, 0),
		{2, 3, 0, 0, 0},
		ints(wire.ChunkFlowWindow, 0, 1<<20), ints(wire.ChunkFlowReject, 0, 1), ints(wire.ChunkSessionLimits, 1<<24, 1000, 1<<20),
	} {
		seed = append(seed, b...)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, in []byte) {
		m := NewMux(&Config{MaxMessage: 1 << 16, SessionWindow: 1, RecvWindow: 1 << 17})
		defer m.Close(epoch, errTestOver)
		s, err := m.Open("out", &Options{Returns: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.TrySend(make([]byte, 3000))
		now, pn := epoch, uint64(0)
		flush := func() {
			for {
				b := m.Append(now, pn, nil, 1171)
				if len(b) == 0 {
					return
				}
				m.Sent(now, pn, len(b)+overhead, false)
				pn++
			}
		}
		flush()
		for n := uint64(0); len(in) > 0; n++ {
			typ, body, rest, err := wire.NextChunk(in)
			if err != nil {
				return
			}
			in = rest
			if !typ.IsAck() && !typ.IsFlow() {
				continue
			}
			if err := m.HandleChunk(now, typ, body); err != nil {
				if _, ok := errors.AsType[*wire.ProtocolError](err); !ok {
					t.Fatalf("HandleChunk: %v, want a ProtocolError", err)
				}
				return
			}
			m.HandlePacketEnd(now, n, true, wire.NotECT)
			flush()
			if held := m.recvUsed - m.recvConsumed - m.readBytes.Load(); held > m.config.sessionWindow() {
				t.Fatalf("%d bytes held, more than the session's window", held)
			}
			for id, r := range m.receivers {
				slots, limit := len(r.table.ring), 2*minRing*(r.table.n+minRing)
				if slots > limit || len(r.gone) > maxPieces || r.used-min(r.used, r.freed) > r.granted {
					t.Fatalf("flow %d: %d slots for %d messages, %d ranges, %d of %d used", id, slots, r.table.n, len(r.gone),
						r.used, r.granted)
				}
			}
			now = now.Add(time.Millisecond)
		}
	})
}

// FuzzMux runs two muxes over a network that drops, duplicates and reorders as the input says, while the input also
// opens, sends on, closes, aborts and rejects flows. In the end everything must have come to its end.
func FuzzMux(f *testing.F) {
	f.Add([]byte{0, 0, 1, 10, 2, 1, 200, 6, 0, 7, 3, 0, 6, 0})
	f.Add([]byte{0, 1, 255, 1, 255, 8, 3, 6, 4, 0, 4, 6, 1, 0, 1, 9, 5, 0, 6})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 300 {
			return
		}
		p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow, MaxMessage: 1 << 18})
		p.eachLink(func(l *link) { l.delay, l.jitter = 5*time.Millisecond, 3*time.Millisecond })
		var senders []*Sender
		var receivers []*Receiver
		var receipts []*Receipt
		next := func() int {
			if len(ops) == 0 {
				return 0
			}
			op := ops[0]
			ops = ops[1:]
			return int(op)
		}
		sides := []*side{p.a, p.b}
		accept := func() {
			for _, s := range sides {
				for r, err := s.m.Accept(over); err == nil; r, err = s.m.Accept(over) {
					receivers = append(receivers, r)
				}
			}
		}
		for len(ops) > 0 {
			switch next() % 11 {
			case 0:
				if len(senders) < 20 {
					o := &Options{Priority: Priority(next()%8 - 3), Returns: 1}
					if len(receivers) > 0 && next()%2 == 0 {
						o.Answers = receivers[next()%len(receivers)]
					}
					m := sides[next()%2].m
					s, err := m.Open("fuzz", o)
					foreign := o.Answers != nil && o.Answers.m != m
					if foreign != (err != nil) {
						t.Fatalf("open, which answers a foreign flow: %v: %v", foreign, err)
					}
					if err == nil {
						senders = append(senders, s)
					}
				}
			case 1, 2:
				if len(senders) > 0 {
					if r, err := senders[next()%len(senders)].TrySend(make([]byte, next()*next()/4)); err == nil {
						receipts = append(receipts, r)
					}
				}
			case 3:
				if len(senders) > 0 {
					_ = senders[next()%len(senders)].Close(over)
				}
			case 4:
				if len(senders) > 0 {
					senders[next()%len(senders)].Abort(uint64(next()))
				}
			case 5:
				if len(receivers) > 0 {
					receivers[next()%len(receivers)].Reject(uint64(next()))
				}
			case 6:
				accept()
				p.run(time.Duration(next()) * time.Millisecond)
			case 7:
				for range next() {
					for _, r := range receivers {
						msg, _ := r.Recv(over)
						msg.Release()
					}
				}
			case 8:
				p.eachLink(func(l *link) { l.loss, l.dup = float64(next()%100)/100, 0.1 })
			case 10:
				if len(receivers) > 0 {
					r := receivers[next()%len(receivers)]
					r.SetOrdering(Ordering(next() % 3))
					r.SetMaxWait(time.Duration(next()%3) * 20 * time.Millisecond)
				}
			case 9:
				sides[next()%2].m.ResetPath(p.now, PathInfo{})
			}
		}
		p.eachLink(func(l *link) { l.loss = 0 })
		for _, s := range senders {
			_ = s.Close(over)
			s.RefuseReturns()
		}
		for range 200 {
			p.run(time.Second)
			accept()
			ended := 0
			for _, r := range receivers {
				for {
					_, err := r.Recv(over)
					var aborted *AbortedError
					if err == io.EOF || errors.Is(err, ErrClosed) || errors.As(err, &aborted) {
						ended++
					}
					if err != nil {
						break
					}
				}
			}
			if ended == len(receivers) && p.a.m.Idle() && p.b.m.Idle() {
				break
			}
		}
		p.run(10 * time.Second)
		for i, r := range receipts {
			if r.Outcome() == Pending {
				t.Errorf("receipt %d of %d is pending at the end", i, len(receipts))
			}
		}
		p.wantNoLeak()
	})
}
