// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
)

// A stress calls everything there is to call on the handles of a session, from many goroutines.
type stress struct {
	*conn
	t         *testing.T
	mu        sync.Mutex
	senders   []*Sender
	receivers []*Receiver
	receipts  []*Receipt
}

func add[T any](st *stress, to *[]T, v T) {
	st.mu.Lock()
	defer st.mu.Unlock()
	*to = append(*to, v)
}

func pick[T any](st *stress, from *[]T, rnd *rand.Rand) (v T, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(*from) == 0 {
		return v, false
	}
	return (*from)[rnd.IntN(len(*from))], true
}

// stressByte is what every message is made of.
const stressByte = 0x77

var stressData = bytes.Repeat([]byte{stressByte}, 200_000)

// sent notes the receipt of a message that was sent.
func (st *stress) sent(r *Receipt, err error) {
	if err == nil && r != nil {
		add(st, &st.receipts, r)
	}
}

// received checks a message and gives it back.
func (st *stress) received(msg *Message) {
	for _, b := range msg.Data {
		if b != stressByte {
			st.t.Errorf("message %d of %d bytes has %#x in it, which was never sent", msg.Seq, len(msg.Data), b)
			break
		}
	}
	twin := *msg
	msg.Release()
	twin.Release()
}

func (st *stress) open(rnd *rand.Rand) {
	m := [2]*Mux{st.a, st.b}[rnd.IntN(2)]
	o := &Options{
		Priority: Priority(rnd.IntN(10) - 4), Weight: rnd.IntN(300) - 1, SendBuffer: rnd.IntN(40_000) - 1,
		Returns: rnd.IntN(3), Stream: rnd.IntN(4) == 0, Ordering: Ordering(rnd.IntN(2)),
	}
	if rnd.IntN(4) == 0 {
		o.StartWithin, o.FinishWithin, o.Transmits = 50*time.Millisecond, 80*time.Millisecond, 2
	}
	if rnd.IntN(3) == 0 {
		o.Answers, _ = pick(st, &st.receivers, rnd)
	}
	s, err := m.Open("stress", o)
	if err != nil {
		return
	}
	add(st, &st.senders, s)
	if o.Stream && rnd.IntN(2) == 0 {
		stream := NewStream(s, nil)
		_ = stream.SetDeadline(time.Now().Add(time.Duration(rnd.IntN(40)) * time.Millisecond))
		_, _ = stream.Write(stressData[:rnd.IntN(50_000)])
		_, _ = stream.Read(make([]byte, 100))
		if rnd.IntN(2) == 0 {
			_ = stream.Close()
		}
	}
}

// few reports whether more flows should be opened.
func (st *stress) few() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.senders) < 16
}

func (st *stress) useSender(ctx context.Context, s *Sender, rnd *rand.Rand) {
	data := stressData[:rnd.IntN(1<<(1+rnd.IntN(17)))]
	var opts []SendOption
	for range rnd.IntN(3) {
		parent, _ := pick(st, &st.receipts, rnd)
		d := time.Duration(rnd.IntN(60)) * time.Millisecond
		opts = append(opts, [...]SendOption{
			{}, After(parent), Supersede(uint64(rnd.IntN(3))), StartWithin(d), FinishWithin(d), Transmits(rnd.IntN(3)),
		}[rnd.IntN(6)])
	}
	switch rnd.IntN(16) {
	case 0, 1, 2:
		st.sent(s.Send(ctx, data, opts...))
	case 3, 4, 5:
		st.sent(s.TrySend(data, opts...))
	case 6:
		st.sent(s.SendFrom(ctx, bytes.NewReader(data)))
	case 7:
		w := s.Writer(ctx)
		_, err := w.Write(data)
		switch {
		case err == nil && rnd.IntN(2) == 0:
			st.sent(w.Receipt(), w.Close())
		case rnd.IntN(2) == 0:
			w.Abort(uint64(rnd.IntN(5)))
		} // else it is left open
	case 8:
		s.SetPriority(Priority(rnd.IntN(8) - 3))
	case 9:
		_ = s.WaitWritable(ctx)
	case 10:
		s.Announce()
	case 11:
		if rnd.IntN(8) == 0 {
			s.Abort(rnd.Uint64())
		}
	case 12:
		if rnd.IntN(4) == 0 {
			_ = s.Close(ctx)
		}
	case 13:
		if r, err := s.AcceptReturn(ctx); err == nil {
			add(st, &st.receivers, r)
		}
	case 14:
		if rnd.IntN(4) == 0 {
			s.RefuseReturns()
		}
	case 15:
		_, _ = s.Stats(), s.Label()
	}
}

func (st *stress) useReceiver(ctx context.Context, r *Receiver, rnd *rand.Rand) {
	switch rnd.IntN(10) {
	case 0, 1, 2, 3:
		for range rnd.IntN(20) {
			msg, err := r.Recv(ctx)
			if err != nil {
				break
			}
			st.received(&msg)
		}
	case 4:
		if mr, err := r.NextReader(ctx); err == nil {
			all, _ := io.ReadAll(mr)
			st.received(&Message{Data: all})
		}
	case 5:
		r.SetOrdering(Ordering(rnd.IntN(3)))
	case 6:
		r.SetMaxWait(time.Duration(rnd.IntN(3)) * 10 * time.Millisecond)
	case 7:
		if rnd.IntN(8) == 0 {
			r.Reject(rnd.Uint64())
		}
	case 8:
		_, _, _, _ = r.Stats(), r.Metadata(), r.Priority(), r.Stream()
	case 9:
		_, _ = r.Done(), r.Err()
	}
}

// step does one thing, whose waiting is bounded.
func (st *stress) step(rnd *rand.Rand) {
	ctx, cancel := context.WithTimeout(st.t.Context(), time.Duration(rnd.IntN(30))*time.Millisecond)
	defer cancel()
	switch k := rnd.IntN(32); {
	case k == 0 || st.few():
		st.open(rnd)
	case k == 1:
		if r, err := [2]*Mux{st.a, st.b}[rnd.IntN(2)].Accept(ctx); err == nil && r.Label() != "quiet" {
			add(st, &st.receivers, r)
		}
	case k == 2:
		_, _ = st.a.Stats(), st.b.Stats()
	case k < 6:
		if r, ok := pick(st, &st.receipts, rnd); ok {
			switch rnd.IntN(5) {
			case 0:
				r.Abandon()
			case 1:
				r.SetDeadline(time.Now().Add(10*time.Millisecond), time.Now().Add(20*time.Millisecond))
			default:
				_, _, _, _ = r.Wait(ctx), r.Reason(), r.Seq(), r.Outcome()
			}
		}
	case k < 20:
		if s, ok := pick(st, &st.senders, rnd); ok {
			st.useSender(ctx, s, rnd)
		}
	default:
		if r, ok := pick(st, &st.receivers, rnd); ok {
			st.useReceiver(ctx, r, rnd)
		}
	}
}

// TestEverythingAtOnce calls every method of every kind of handle from many goroutines until the session is over and for
// a while longer. Nobody may be left waiting, every receipt has its outcome, and no message has bytes of another.
func TestEverythingAtOnce(t *testing.T) {
	rounds := uint64(6)
	if raceEnabled {
		rounds = 3
	}
	for seed := range rounds {
		synctest.Test(t, func(t *testing.T) {
			st := &stress{conn: newConn(t, Config{}, Config{RecvWindow: wire.InitialFlowWindow, MaxRecvWindow: 1}), t: t}
			var wg sync.WaitGroup
			for g := range uint64(8) {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, g))
					for start := time.Now(); time.Since(start) < time.Duration(500+20*seed)*time.Millisecond; {
						st.step(rnd)
						time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
					}
				})
			}
			// These wait without bounds: only the end lets them go.
			forever := func(what string, f func(ctx context.Context) error) {
				wg.Go(func() {
					if err := f(context.Background()); err == nil {
						t.Errorf("%s waited for something that never comes, and it has come", what)
					}
				})
			}
			time.Sleep(time.Millisecond)
			quiet, err := st.a.Open("quiet", &Options{Returns: 1, SendBuffer: 80_000})
			if err != nil {
				t.Fatal(err)
			}
			// Nobody reads it. The first message uses the window up, so that most of the second stays here.
			for _, n := range []int{70_000, 200_000} {
				if _, err := quiet.TrySend(stressData[:n]); err != nil {
					t.Fatal(err)
				}
			}
			forever("Send", func(ctx context.Context) error { _, err := quiet.Send(ctx, stressData); return err })
			forever("SendFrom", func(ctx context.Context) error {
				_, err := quiet.SendFrom(ctx, bytes.NewReader(stressData))
				return err
			})
			forever("WaitWritable", quiet.WaitWritable)
			forever("Close", quiet.Close)
			forever("AcceptReturn", func(ctx context.Context) error { _, err := quiet.AcceptReturn(ctx); return err })
			time.Sleep(time.Duration(250+20*seed) * time.Millisecond)
			st.end()
			wg.Wait()
			for i, r := range st.receipts {
				switch err := r.Wait(over); {
				case r.Outcome() == Pending:
					t.Errorf("receipt %d of %d is pending after the end", i, len(st.receipts))
				case r.Outcome() == Delivered && (err != nil || r.Reason() != NotAbandoned),
					r.Outcome() == Abandoned && (!errors.Is(err, ErrAbandoned) || r.Reason() == NotAbandoned),
					r.Reason() == SessionOver && !errors.Is(err, errConnOver):
					t.Errorf("receipt %d: %v, %v, %v, which do not agree", i, r.Outcome(), r.Reason(), err)
				}
			}
			for _, s := range st.senders {
				if _, err := s.Send(over, nil); err == nil {
					t.Error("Send after the end took a message")
				}
				if err := s.Close(over); errors.Is(err, context.Canceled) {
					t.Error("Close after the end waits")
				}
				if _, err := s.AcceptReturn(over); errors.Is(err, context.Canceled) {
					t.Error("AcceptReturn after the end waits")
				}
			}
			for _, r := range st.receivers {
				var err error
				for err == nil {
					_, err = r.Recv(over)
				}
				if errors.Is(err, context.Canceled) || r.Err() == nil {
					t.Errorf("Recv after the end: %v, Err: %v, want why it ended", err, r.Err())
				}
				<-r.Done()
			}
			if len(st.receipts) < 20 || len(st.receivers) < 3 {
				t.Errorf("%d receipts, %d receivers: the test wants more", len(st.receipts), len(st.receivers))
			}
		})
	}
}
