// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// useBuffers takes buffers for n bytes from the pool, writes to them and gives them back: what is in the pool and
// somebody's all the same does not stay what it was.
func useBuffers(n int) {
	taken := make([]*buffer, 100)
	for i := range taken {
		taken[i] = newBuffer(n)
		clear(taken[i].b[:cap(taken[i].b)])
	}
	for _, buf := range taken {
		buf.free()
	}
}

// TestPayloadStaysWhatItIs sends one payload in all the ways in which a message can end, and again after each.
func TestPayloadStaysWhatItIs(t *testing.T) {
	for _, size := range []int{0, 1, 64, 1000, 1 << 12, 70_000} {
		t.Run(fmt.Sprintf("size=%d", size), func(t *testing.T) {
			msg := pattern(size, 7)
			payload := NewPayload(msg)
			want := bytes.Clone(msg)
			clear(msg) // it is a copy
			p := newPair(t, Config{}, Config{})
			send := func(s *Sender, opts ...SendOption) *Receipt {
				t.Helper()
				before := s.buffered
				r, err := s.TrySendPayload(payload, opts...)
				if err != nil {
					t.Fatal(err)
				}
				if n := s.buffered - before; n != size+wire.MessageCost {
					t.Errorf("%d bytes more wait, want %d, as for a message that is copied", n, size+wire.MessageCost)
				}
				return r
			}
			check := func(how string) {
				t.Helper()
				useBuffers(size)
				if !bytes.Equal(payload.buf.b, want) {
					t.Fatalf("%s: the payload has changed", how)
				}
			}

			s := p.open(p.a, "", nil)
			var in *Receiver
			deliver := func(how string) {
				t.Helper()
				r := send(s)
				p.run(time.Second)
				if in == nil {
					in = p.accept(p.b)
				}
				got := p.recv(in)
				if r.Outcome() != Delivered || !bytes.Equal(got.Data, want) {
					t.Fatalf("%s: %v, %d bytes arrived; want the payload", how, r.Outcome(), len(got.Data))
				}
				got.Release()
				check(how)
			}
			deliver("delivered")

			lost := func(uint64, []byte) bool { return true }
			for _, c := range []struct {
				reason Reason
				opts   []SendOption
				end    func(r *Receipt)
			}{
				{StartDeadline, []SendOption{StartWithin(time.Millisecond)}, nil},
				{FinishDeadline, []SendOption{FinishWithin(50 * time.Millisecond)}, nil},
				{TransmitLimit, []SendOption{Transmits(1)}, nil},
				{Withdrawn, nil, func(r *Receipt) { r.Abandon() }},
				{Superseded, []SendOption{Supersede(1)}, func(*Receipt) { send(s, Supersede(1)).Abandon() }},
			} {
				p.a.filter = lost
				if c.reason == StartDeadline {
					p.a.m.HandleTimeout(p.now)
				}
				r := send(s, c.opts...)
				switch {
				case c.reason == StartDeadline: // it is taken over, and time passes before anything can be sent
					p.a.m.collect()
					p.now = p.now.Add(time.Second)
					p.a.m.HandleTimeout(p.now)
				case c.end != nil:
					c.end(r)
				}
				p.run(time.Second)
				p.a.filter = nil
				p.run(time.Minute)
				if r.Outcome() != Abandoned || r.Reason() != c.reason {
					t.Fatalf("%v, %v; want it abandoned, %v", r.Outcome(), r.Reason(), c.reason)
				}
				deliver(fmt.Sprint(c.reason))
			}

			gone := p.open(p.a, "", nil)
			r := send(gone)
			gone.Abort(1)
			p.run(time.Second)
			if r.Reason() != FlowAborted {
				t.Errorf("%v, want FlowAborted", r.Reason())
			}
			deliver("aborted")
			if n := p.a.m.buffered.Load(); n != 0 || s.buffered != 0 {
				t.Errorf("%d bytes wait at the end, %d of them on the flow; want none", n, s.buffered)
			}
		})
	}
}

// TestPayloadSentFromManyGoroutines has sessions of their own goroutines send one payload, fragments of some being
// lost, among other messages.
func TestPayloadSentFromManyGoroutines(t *testing.T) {
	want := pattern(1<<12, 3)
	payload := NewPayload(want)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := newPair(t, Config{}, Config{}).seed(uint64(i))
			p.a.link.loss = 0.05
			const flows, messages = 3, 10
			for range flows {
				s, err := p.a.m.Open("", nil)
				for k := range messages {
					if err == nil && k%2 == 0 {
						_, err = s.TrySendPayload(payload)
					} else if err == nil {
						_, err = s.TrySend(want)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
			p.run(time.Minute)
			for range flows {
				r, err := p.b.m.Accept(over)
				for range messages {
					var msg Message
					if err == nil {
						msg, err = r.Recv(over)
					}
					if err != nil || !bytes.Equal(msg.Data, want) {
						t.Errorf("%d bytes, %v; want the %d of the payload", len(msg.Data), err, len(want))
						return
					}
					msg.Release()
				}
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(payload.buf.b, want) {
		t.Error("the payload has changed")
	}
}

// TestSendPayloadFails: SendPayload fails when Send would, and waits when Send would.
func TestSendPayloadFails(t *testing.T) {
	p := newPair(t, Config{SessionSendBuffer: 10_000, MaxMessage: 8000}, Config{})
	s, other := p.open(p.a, "", nil), p.open(p.a, "", nil)
	if _, err := s.SendPayload(t.Context(), NewPayload(make([]byte, 8001))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("larger than any message may be: %v, want ErrTooLarge", err)
	}
	payload, n := NewPayload(make([]byte, 4000)), 0
	var err error
	for ; err == nil; n++ {
		_, err = s.TrySendPayload(payload)
	}
	if n--; n != 3 || !errors.Is(err, ErrWouldBlock) {
		t.Errorf("%d messages of 4000 bytes taken, then %v; want 3, as without a payload, and ErrWouldBlock", n, err)
	}
	if _, err := s.SendPayload(over, payload); !errors.Is(err, context.Canceled) {
		t.Errorf("SendPayload without room: %v, want it to wait", err)
	}
	if _, err := other.TrySendPayload(payload); err != nil {
		t.Errorf("on a flow where nothing waits: %v", err)
	}
	p.run(time.Second)
	if _, err := s.SendPayload(over, new(Payload), Transmits(1)); err != nil {
		t.Errorf("the zero payload, with room: %v", err)
	}
	s.Abort(0)
	for _, send := range []func() (*Receipt, error){
		func() (*Receipt, error) { return s.SendPayload(t.Context(), payload, Transmits(1)) },
		func() (*Receipt, error) { return s.TrySendPayload(payload, Transmits(1)) },
	} {
		if r, err := send(); r != nil || !errors.Is(err, ErrClosed) {
			t.Errorf("after Abort: %v, %v, want ErrClosed", r, err)
		}
	}
}

// TestPayloadIsCollected: nothing holds a payload whose messages have ended.
func TestPayloadIsCollected(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	s, gone := p.open(p.a, "", nil), p.open(p.a, "", nil)
	held := func() weak.Pointer[Payload] { // so that it is not the test that holds it
		payload := NewPayload(pattern(5000, 1))
		for _, f := range []*Sender{s, gone} {
			for range 3 {
				if _, err := f.TrySendPayload(payload); err != nil {
					t.Fatal(err)
				}
			}
		}
		return weak.Make(payload)
	}()
	runtime.GC()
	if held.Value() == nil {
		t.Fatal("the payload is gone before it has been sent")
	}
	gone.Abort(0)
	p.run(time.Second)
	runtime.GC()
	if held.Value() != nil {
		t.Error("the payload is held after all messages have been delivered or abandoned")
	}
	runtime.KeepAlive(s)
}

// TestFanOutAllocations bounds what a recipient of a payload costs the sender until it is delivered, and what is kept.
func TestFanOutAllocations(t *testing.T) {
	const sessions = 8
	out := newFanOut(t, sessions)
	payload := NewPayload(pattern(4<<10, 1))
	round := func() {
		out.send(t, func(s *Sender) (*Receipt, error) { return s.TrySendPayload(payload) })
		for _, s := range out.senders {
			if b := s.pending[0].buf; b != &payload.buf {
				t.Fatal("a message waits in memory of its own")
			}
		}
		out.drain()
	}
	for range 40 {
		round()
	}
	n := testing.AllocsPerRun(64, round) / sessions
	t.Logf("%.3f allocations per recipient", n)
	if !raceEnabled && n > 0.2 { // receipts come 32 at a time
		t.Errorf("%.2f allocations per recipient, want one for every 32 receipts and hardly more", n)
	}
}

// A fanOut is one end of many sessions, with a flow on each.
type fanOut struct {
	pipes     []*pipe
	senders   []*Sender
	receivers []*Receiver
}

func newFanOut(tb testing.TB, sessions int) *fanOut {
	out := &fanOut{receivers: make([]*Receiver, sessions)}
	for range sessions {
		p := newPipe()
		s, err := p.a.Open("state", nil)
		if err != nil {
			tb.Fatal(err)
		}
		out.pipes, out.senders = append(out.pipes, p), append(out.senders, s)
	}
	return out
}

func (out *fanOut) send(tb testing.TB, send func(*Sender) (*Receipt, error)) {
	for _, s := range out.senders {
		if _, err := send(s); err != nil {
			tb.Fatal(err)
		}
	}
}

// drain has everybody receive what is on its way.
func (out *fanOut) drain() {
	for i, p := range out.pipes {
		for out.senders[i].buffered > 0 {
			p.turn()
			if out.receivers[i] == nil {
				out.receivers[i], _ = p.b.Accept(over)
			}
			for {
				msg, err := out.receivers[i].Recv(over)
				if err != nil {
					break
				}
				msg.Release()
			}
		}
	}
}

// BenchmarkFanOut measures what it takes to send one message to many sessions: ns/recipient to queue it, of which
// waiting-B/recipient are then in memory, and the whole way to all of them.
func BenchmarkFanOut(b *testing.B) {
	const sessions = 1000
	for _, size := range []int{1 << 10, 16 << 10} {
		for _, way := range []string{"copies", "payload"} {
			b.Run(fmt.Sprintf("sessions=%d/size=%d/way=%s", sessions, size, way), func(b *testing.B) {
				out, msg := newFanOut(b, sessions), pattern(size, 1)
				once := func() {
					if way == "copies" {
						out.send(b, func(s *Sender) (*Receipt, error) { return s.TrySend(msg) })
						return
					}
					p := NewPayload(msg)
					out.send(b, func(s *Sender) (*Receipt, error) { return s.TrySendPayload(p) })
				}
				for range 2 {
					once()
					out.drain()
				}
				empty := heapInUse()
				once()
				waiting := float64(heapInUse() - empty)
				out.drain()
				b.ReportAllocs()
				var sending time.Duration
				n := 0
				for b.Loop() {
					start := time.Now()
					once()
					sending += time.Since(start)
					out.drain()
					n += sessions
				}
				b.ReportMetric(float64(sending.Nanoseconds())/float64(n), "ns/recipient")
				b.ReportMetric(waiting/sessions, "waiting-B/recipient")
			})
		}
	}
}
