// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// checkSending checks what must always be true of a mux's sending side.
func (m *Mux) checkSending(t *testing.T) {
	t.Helper()
	m.collect()
	m.returnBuffers()
	var reserved uint64
	scheduled, deadlines := 0, 0
	for i := range m.sched.levels {
		for k, e := range m.sched.levels[i].heap {
			if int(e.s.schedAt) != k+1 || int(e.s.level) != i {
				t.Fatalf("flow at %d of level %d believes it is at %d of %d", k, i, e.s.schedAt-1, e.s.level)
			}
			scheduled++
		}
	}
	if scheduled != m.sched.n {
		t.Fatalf("%d flows scheduled, counted %d", scheduled, m.sched.n)
	}
	for s := range m.senders {
		var st senderCounts
		buffered, gaps, used := 0, 0, uint64(0)
		for i := range s.msgs.len() {
			p := s.msgs.at(i)
			seq := s.base + uint64(i)
			if p.skip == skipUntold || p.skip == skipTold {
				gaps++
			}
			if p.done {
				used += uint64(p.sent)
				if p.skip == skipNone {
					used -= uint64(p.sent) // delivered
				}
				continue
			}
			size := len(p.buf.b)
			buffered += size + wire.MessageCost - min(int(p.ranges.acked.Size()), size)
			if p.started {
				used += uint64(p.bytesSent()) + wire.MessageCost
				reserved += uint64(size - p.bytesSent())
			} else {
				st.Queued++
			}
			st.QueuedBytes += size - p.bytesSent()
			if (seq < s.next) != (p.started && p.sent == p.units()) {
				t.Fatalf("message %d: next is %d, %d of %d units sent", seq, s.next, p.sent, p.units())
			}
			if x := p.terms; x != nil {
				if x.s != s || x.seq != seq {
					t.Fatalf("message %d has the terms of %d", seq, x.seq)
				}
				if at, _ := x.due(); (at != never) != (x.index != 0) {
					t.Fatalf("message %d: deadline %d, place in the heap %d", seq, at, x.index)
				}
				if x.index != 0 {
					deadlines++
				}
			}
		}
		if s.next < s.queuedEnd() && s.message(s.next) == nil {
			t.Fatalf("next message %d is done", s.next)
		}
		if gaps != s.gaps || st.Queued != s.stats.Queued || st.QueuedBytes != s.stats.QueuedBytes || s.stats.InFlight < 0 {
			t.Fatalf("gaps %d, queued %d, %d bytes, in flight %d; counted %d, %d, %d", s.gaps, s.stats.Queued,
				s.stats.QueuedBytes, s.stats.InFlight, gaps, st.Queued, st.QueuedBytes)
		}
		s.gate.Lock()
		if len(s.pending) == 0 && s.buffered != buffered && !s.failed {
			t.Fatalf("%d bytes buffered, counted %d", s.buffered, buffered)
		}
		s.gate.Unlock(s.writable())
		if used > s.flowUsed {
			t.Fatalf("messages used %d of credit, the flow %d", used, s.flowUsed)
		}
	}
	if reserved != m.sendReserved {
		t.Fatalf("%d of credit reserved, messages begun need %d", m.sendReserved, reserved)
	}
	if deadlines != len(m.deadlines) {
		t.Fatalf("%d deadlines in the heap, messages have %d", len(m.deadlines), deadlines)
	}
	for i, e := range m.deadlines {
		if e.x.index != i+1 || i > 0 && m.deadlines[(i-1)/2].at > e.at {
			t.Fatalf("the heap of deadlines is out of order at %d", i)
		}
	}
}

// FuzzSender has one end send messages on all terms, change its mind and lose packets, and checks after every step that
// the books balance, and in the end that every receipt has its one outcome, which never changed, and tells the truth.
func FuzzSender(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 100, 9, 1, 0, 50, 33, 2, 30, 5, 0, 3, 1, 2, 200})
	f.Add([]byte{0, 0, 7, 60, 1, 0, 200, 255, 1, 0, 200, 254, 2, 1, 4, 1, 8, 0, 40, 2, 255, 7, 0, 2, 255})
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		b := make([]byte, 280)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 300 {
			return
		}
		p := newPair(t, Config{}, Config{MaxMessage: 1 << 17})
		p.eachLink(func(l *link) { l.delay, l.jitter = 5*time.Millisecond, 3*time.Millisecond })
		next := func() int {
			if len(ops) == 0 {
				return 0
			}
			op := ops[0]
			ops = ops[1:]
			return int(op)
		}
		var senders []*Sender
		var writers []*MessageWriter
		var receivers []*Receiver
		var receipts []*Receipt
		fates := make(map[*Receipt]Reason)
		received, rejected := make(map[string]map[uint64]bool), make(map[string]bool)
		read := func() (ended int) {
			for r, err := p.b.m.Accept(over); err == nil; r, err = p.b.m.Accept(over) {
				receivers = append(receivers, r)
				received[r.Label()] = make(map[uint64]bool)
			}
			for _, r := range receivers {
				for {
					msg, err := r.Recv(over)
					var aborted *AbortedError
					if err == io.EOF || errors.Is(err, ErrClosed) || errors.As(err, &aborted) {
						ended++
					}
					if err != nil {
						break
					}
					received[r.Label()][msg.Seq] = true
					msg.Release()
				}
			}
			return ended
		}
		check := func() {
			p.a.m.checkSending(t)
			for _, r := range receipts {
				if r.Outcome() == Pending {
					continue
				}
				if was, ok := fates[r]; ok && was != r.Reason() {
					t.Fatalf("message %d was %v and is %v", r.Seq(), was, r.Reason())
				}
				fates[r] = r.Reason()
			}
		}
		ms := func() time.Duration { return time.Duration(next()-20) * time.Millisecond }
		for len(ops) > 0 {
			if op := next() % 10; op == 0 && len(senders) < 6 {
				o := &Options{
					Priority: Priority(next()%8 - 3), Weight: next(), SendBuffer: 100_000, Ordering: Ordering(next() % 2),
				}
				if next()%4 == 0 {
					o.StartWithin, o.FinishWithin, o.Transmits = ms(), ms(), next()%4
				}
				s, err := p.a.m.Open(string(rune('a'+len(senders))), o)
				if err != nil {
					t.Fatal(err)
				}
				senders = append(senders, s)
			} else if len(senders) > 0 {
				s := senders[next()%len(senders)]
				var r *Receipt
				if len(receipts) > 0 {
					r = receipts[next()%len(receipts)]
				}
				switch op {
				case 0, 1:
					var opts []SendOption
					terms := next()
					for bit, make := range []func() SendOption{
						func() SendOption { return StartWithin(ms()) },
						func() SendOption { return FinishWithin(ms()) },
						func() SendOption { return Transmits(next() % 4) },
						func() SendOption { return After(r) },
						func() SendOption { return Supersede(uint64(next() % 3)) },
						func() SendOption { return After(receipts[len(receipts)-1]) },
					} {
						if terms&(1<<bit) != 0 && (bit < 5 || r != nil) {
							opts = append(opts, make())
						}
					}
					if r, err := s.TrySend(make([]byte, next()*next()/4), opts...); err == nil {
						receipts = append(receipts, r)
					}
				case 2:
					p.run(time.Duration(next()) * time.Millisecond)
				case 3:
					if r != nil {
						r.Abandon()
					}
				case 4:
					if r != nil {
						r.SetDeadline(p.now.Add(ms()), p.now.Add(ms()))
					}
				case 5:
					s.SetPriority(Priority(next()%8 - 3))
				case 6:
					p.eachLink(func(l *link) { l.loss, l.dup = float64(next()%60)/100, 0.1 })
				case 7:
					read()
				case 8:
					switch next() % 8 {
					case 0:
						s.Abort(3)
					case 1:
						_ = s.Close(over)
					case 2:
						if len(receivers) > 0 {
							r := receivers[next()%len(receivers)]
							r.Reject(4)
							rejected[r.Label()] = true
						}
					default:
						p.a.m.ResetPath(p.now, PathInfo{})
					}
				case 9:
					if len(writers) == 0 || next()%3 == 0 {
						writers = append(writers, s.Writer(over))
					}
					w := writers[len(writers)-1]
					if next()%3 > 0 {
						_, _ = w.Write(make([]byte, next()*next()))
					} else if w.Close() == nil && w.Receipt() != nil {
						receipts = append(receipts, w.Receipt())
					}
				}
			}
			check()
		}
		p.eachLink(func(l *link) { l.loss, l.dup = 0, 0 })
		for _, w := range writers {
			w.Abort(1)
		}
		for _, s := range senders {
			_ = s.Close(over)
		}
		for range 100 {
			p.run(time.Second)
			if ended := read(); ended == len(receivers) && p.a.m.Idle() && p.b.m.Idle() {
				break
			}
		}
		p.run(10 * time.Second)
		check()
		for i, r := range receipts {
			if r.Outcome() == Pending {
				t.Errorf("receipt %d of %d is pending at the end", i, len(receipts))
			}
			if in := received[r.s.Label()]; r.Outcome() == Delivered && !in[r.Seq()] && !rejected[r.s.Label()] && !r.s.failed {
				t.Errorf("flow %s, message %d is Delivered and was not received", r.s.Label(), r.Seq())
			}
			if r.parents != nil || r.children != nil {
				t.Errorf("message %d is still tied to others", r.Seq())
			}
		}
		for _, s := range senders {
			if st := s.Stats(); st.Queued != 0 || st.QueuedBytes != 0 || st.InFlight != 0 || !st.UnackedSince.IsZero() {
				t.Errorf("flow %s at the end: %+v, want nothing queued", s.Label(), st)
			}
		}
		p.wantNoLeak()
	})
}
