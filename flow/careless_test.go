// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// TestReleaseOfACopy releases messages and copies of them, which must not make two messages share memory.
func TestReleaseOfACopy(t *testing.T) {
	p := newPair(t, Config{}, Config{})
	s := p.open(p.a, "", nil)
	p.send1(s, pattern(100, 1))
	r := p.accept(p.b)
	first := p.recv(r)
	kept := first
	first.Release()
	first.Release()
	if first.Data != nil {
		t.Error("a message has data after its release")
	}
	for range 20 {
		p.send1(s, pattern(100, 2))
		p.send1(s, pattern(100, 3))
		a := p.recv(r)
		stale := kept
		stale.Release() // long after the memory has gone to another message
		b := p.recv(r)
		if !bytes.Equal(a.Data, pattern(100, 2)) || !bytes.Equal(b.Data, pattern(100, 3)) {
			t.Fatal("a message is not what was sent")
		}
		x, y := copyBuffer(make([]byte, 100)), copyBuffer(make([]byte, 100))
		if &x.b[0] == &a.Data[0] || &y.b[0] == &a.Data[0] || &x.b[0] == &y.b[0] {
			t.Fatal("memory in use has been given to another message")
		}
		x.free()
		y.free()
		kept = a
		a.Release()
		b.Release()
	}
}

// TestAskOfAMessageTheLoopHasYetToSee gives a message up that another goroutine's Send is about to tell the loop of, while
// others have business with the loop.
func TestAskOfAMessageTheLoopHasYetToSee(t *testing.T) {
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	var others sync.WaitGroup
	defer others.Wait()
	var over atomic.Bool
	defer over.Store(true)
	for range 2 {
		others.Go(func() {
			for !over.Load() {
				m.mu.Lock()
				runtime.Gosched()
				m.mu.Unlock()
			}
		})
	}
	for range 200 {
		s, err := m.Open("", nil)
		if err != nil {
			t.Fatal(err)
		}
		m.begin(epoch, 0)
		m.collect()
		others.Go(func() { _, _ = s.TrySend(nil) })
		var r *Receipt
		for s.gateSent() == 0 {
			runtime.Gosched()
		}
		if r, err = s.TrySend(nil); err != nil {
			t.Fatal(err)
		}
		r.Abandon()
		m.begin(epoch, 0)
		m.collect()
		if r.Reason() != Withdrawn {
			t.Fatalf("%v, want the message to be withdrawn", r.Reason())
		}
		s.Abort(0)
	}
}

// gateSent returns how many messages have been sent.
func (s *Sender) gateSent() uint64 {
	s.gate.Lock()
	defer func() { s.gate.Unlock(s.writable()) }()
	return s.sent
}

// TestWriterAbortedBeforeItsTurn aborts a writer whose Write waits for another's message. It must not begin one that
// nobody ends.
func TestWriterAbortedBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConn(t, Config{}, Config{})
		defer c.end()
		s, err := c.a.Open("", nil)
		if err != nil {
			t.Fatal(err)
		}
		first, second := s.Writer(t.Context()), s.Writer(t.Context())
		if _, err := first.Write([]byte("a")); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := second.Write([]byte("b"))
			wrote <- err
		}()
		synctest.Wait()
		second.Abort(7)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; !errors.Is(err, errWriterOver) {
			t.Errorf("Write: %v, want an error, as Abort has been called", err)
		}
		if err := second.Close(); !errors.Is(err, errWriterOver) {
			t.Errorf("Close: %v, want an error, as Abort has been called", err)
		}
		if _, err := s.TrySend([]byte("after")); err != nil {
			t.Errorf("TrySend: %v, want the flow to go on", err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("Close of the flow: %v", err)
		}
		r, err := c.b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for msg, err := range r.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(msg.Data))
		}
		if len(got) != 3 || got[0] != "a" || got[1] != "" || got[2] != "after" {
			t.Errorf("received %q, want the first message in two parts and the last", got)
		}
	})
}

// TestWindowsWithoutBounds configures as much as an int can say, and has the peer use it all up.
func TestWindowsWithoutBounds(t *testing.T) {
	all := Config{
		RecvWindow: math.MaxInt, MaxRecvWindow: math.MaxInt, SessionWindow: math.MaxInt, MaxMessage: math.MaxInt,
		MaxIncomingFlows: math.MaxInt,
	}
	t.Run("transfer", func(t *testing.T) {
		p := newPair(t, all, all)
		s := p.open(p.a, "", &Options{SendBuffer: math.MaxInt, Weight: math.MaxInt, Transmits: math.MaxInt})
		receipt := p.send1(s, pattern(1<<20, 1))
		p.run(10 * time.Second)
		if receipt.Outcome() != Delivered {
			t.Errorf("%v, want it delivered", receipt.Outcome())
		}
	})
	t.Run("use", func(t *testing.T) {
		f := newFeed(t, all)
		if err := f.chunks(open(0)); err != nil {
			t.Fatal(err)
		}
		r := f.m.receivers[0]
		var err error
		for seq := uint64(0); err == nil && r.granted < wire.MaxVarint; seq++ {
			f.m.Append(f.now, 0, nil, 1171)
			// A lie costs no more than its seven bytes, wherever credit stands.
			if seq == 100 {
				for _, v := range []*uint64{&r.used, &r.freed, &f.m.recvUsed, &f.m.recvConsumed} {
					*v += 1<<62 - 1<<46
				}
				for _, v := range []*uint64{&r.granted, &f.m.recvLimit} {
					*v += 1<<62 - 1<<46
				}
			}
			err = f.chunks(skip(0, seq, min(r.granted-r.used, f.m.recvLimit-f.m.recvUsed)))
			if seq > 1<<20 {
				t.Fatal("credit does not come to its end")
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		f.m.Append(f.now, 0, nil, 1171) // tells the peer
		if err := f.chunks(skip(0, r.top, min(r.granted-r.used, f.m.recvLimit-f.m.recvUsed))); err != nil {
			t.Fatal(err)
		}
		f.m.Append(f.now, 0, nil, 1171)
	})
}

// TestDeadlinesWhileNothingCanBeSent has a driver that has no keys yet, say, call HandleTimeout only.
func TestDeadlinesWhileNothingCanBeSent(t *testing.T) {
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	if n := len(m.Flows(epoch)); n != 0 {
		t.Errorf("%d flows before there is one", n)
	}
	s, err := m.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.TrySend(nil, FinishWithin(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.TrySend(nil)
	if err != nil {
		t.Fatal(err)
	}
	second.SetDeadline(time.Time{}, epoch.Add(2*time.Second))
	if n := len(m.Flows(epoch)); n != 1 {
		t.Errorf("%d flows, want 1", n)
	}
	m.HandleTimeout(epoch)
	for i, r := range []*Receipt{first, second} {
		now := epoch.Add(time.Duration(i+1) * time.Second)
		if at := m.NextTimeout(); !at.Equal(now) {
			t.Fatalf("next timeout at %v, want the deadline at %v", at, now)
		}
		m.HandleTimeout(now)
		if r.Reason() != FinishDeadline {
			t.Errorf("message %d: %v, want FinishDeadline", i, r.Reason())
		}
	}
}

// TestRemindersDespiteGivingUp has a flow without credit give up each of its messages before the peer is reminded.
func TestRemindersDespiteGivingUp(t *testing.T) {
	p := newPair(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow})
	s := p.open(p.a, "", nil)
	for range 70 {
		p.send1(s, pattern(4000, 1)) // more than the window, and nobody reads
	}
	p.accept(p.b)
	p.run(time.Second)
	reminders := 0
	p.a.filter = func(_ uint64, payload []byte) bool {
		for len(payload) > 0 {
			typ, _, rest, err := wire.NextChunk(payload)
			if err != nil {
				t.Fatal(err)
			}
			if typ == wire.ChunkFlowBlocked {
				reminders++
			}
			payload = rest
		}
		return false
	}
	s2 := p.open(p.a, "", nil)
	for range 16 {
		p.send1(s2, pattern(4000, 1))
	}
	p.run(500 * time.Millisecond)
	for range 200 {
		if _, err := s2.Send(over, pattern(4000, 1), FinishWithin(100*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		p.run(100 * time.Millisecond)
	}
	if s.blockedAt == 0 || reminders < 5 {
		t.Errorf("blocked %v, %d reminders in 20 s, want one at least every 5 s for each of two flows", s.blockedAt != 0, reminders)
	}
}

// TestZeroValues calls what can be called on values nobody has made.
func TestZeroValues(t *testing.T) {
	var msg Message
	msg.Release()
	var r Receipt
	r.Abandon()
	r.SetDeadline(epoch, epoch)
	if err := r.Wait(over); !errors.Is(err, context.Canceled) || r.Outcome() != Pending || r.Err() != nil {
		t.Errorf("a receipt of nothing: %v, %v, want it to be pending for ever", err, r.Outcome())
	}
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	s, err := m.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.TrySend(nil, After(&r)); !errors.Is(err, errForeignParent) {
		t.Errorf("after a receipt of nothing: %v, want an error", err)
	}
	if _, err := s.TrySend(nil, SendOption{}, After(nil)); err != nil {
		t.Errorf("with options that say nothing: %v", err)
	}
}

// TestSupersedeOfAParent sends a message after the one it takes the place of, which takes it along.
func TestSupersedeOfAParent(t *testing.T) {
	m := NewMux(nil)
	defer m.Close(epoch, errTestOver)
	s, err := m.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	var r *Receipt
	for range 3 {
		if r, err = s.TrySend(nil, Supersede(1), After(r)); err != nil {
			t.Fatal(err)
		}
	}
	m.HandleTimeout(epoch)
	wantReason(t, r, ParentAbandoned)
	if st := s.Stats(); st.Queued != 0 || st.AllAbandoned() != 3 {
		t.Errorf("%d queued, %d abandoned, want none and all 3", st.Queued, st.AllAbandoned())
	}
}
