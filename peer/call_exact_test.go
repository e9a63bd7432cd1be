// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// occupy keeps a session's path full of more urgent data until the test ends.
func occupy(t *testing.T, s, back *peer.Session) {
	t.Helper()
	f, err := s.OpenFlow("busy", &flow.Options{Priority: flow.Override})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := f.Send(t.Context(), make([]byte, 10_000)); err != nil {
				return
			}
		}
	}()
	in, err := back.AcceptFlow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := in.Recv(t.Context()); err != nil {
				return
			}
		}
	}()
}

// A call that is given up before all of its request was sent cannot have run, and says so, on an established session too.
func TestCallGivenUpUnsent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, NoRelay: true})
		nearHost := n.Host(peertest.Public)
		near, far := nearHost.Endpoint(nil), n.Endpoint(peertest.Public, nil)
		var runs atomic.Int32
		far.Handle("count", func(context.Context, *peer.Request) ([]byte, error) { runs.Add(1); return nil, nil })
		far.HandleStream("stream", func(ctx context.Context, _ *peer.HandlerStream) error {
			runs.Add(1)
			<-ctx.Done()
			return nil
		})
		s, back := meet(t, near, far)
		nearHost.Condition(peer.Conditions{Bandwidth: 1_000_000}, peer.Conditions{})
		give := func(ctx context.Context, o *peer.CallOptions, size int) {
			t.Helper()
			ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			_, err := s.Call(ctx, "count", make([]byte, size), o)
			wantCallError(t, err, peer.CallDeadline, false)
		}
		// A part of it is sent.
		give(t.Context(), nil, 1<<20)
		// Nothing is: something more urgent is in the way. The guard against starvation must not let it through.
		occupy(t, s, back)
		time.Sleep(5 * time.Second)
		last := &peer.CallOptions{Priority: flow.Background}
		give(t.Context(), last, 900_000)
		for _, how := range []string{"close", "context"} {
			ctx, cancel := context.WithCancel(t.Context())
			st, err := s.CallStream(ctx, "stream", last)
			if err != nil {
				t.Fatal(err)
			}
			if how == "close" {
				_ = st.Close()
			}
			cancel()
			_, err = st.Recv(t.Context())
			wantCallError(t, err, peer.CallCanceled, false)
		}
		// The session ends.
		time.AfterFunc(300*time.Millisecond, func() { s.Abort(2000, "") })
		_, err := s.Call(t.Context(), "count", make([]byte, 900_000), last)
		wantCallError(t, err, peer.CallDisconnected, false)
		time.Sleep(time.Minute)
		if got := runs.Load(); got != 0 {
			t.Errorf("%d handlers have run", got)
		}
	})
}

// Whenever a caller gives up, what its error says of the handler is true. Requests of several sizes are given up at every
// moment of their way, on a network that loses and reorders.
func TestCallMayHaveRunIsTrue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.03, Seed: 3, NoRelay: true})
		near, far := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		const calls = 300
		var runs [calls]atomic.Int32
		count := func(b []byte) { runs[binary.BigEndian.Uint32(b)].Add(1) }
		far.Handle("unary", func(_ context.Context, req *peer.Request) ([]byte, error) {
			count(req.Data)
			return nil, nil
		})
		far.HandleStream("stream", func(ctx context.Context, st *peer.HandlerStream) error {
			count(st.Request().Metadata)
			for {
				if _, err := st.Recv(ctx); err != nil {
					return nil //nolint:nilerr // all is well
				}
			}
		})
		s, _ := meet(t, near, far)
		var wg sync.WaitGroup
		var never [calls]bool
		for i := range calls {
			time.Sleep(10 * time.Millisecond)
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%60)*time.Millisecond)
				defer cancel()
				req := make([]byte, 4+i%7*20_000)
				binary.BigEndian.PutUint32(req, uint32(i))
				var err error
				if i%3 == 0 {
					err = streamOnce(ctx, s, req)
				} else {
					_, err = s.Call(ctx, "unary", req, nil)
				}
				if ce, ok := errors.AsType[*peer.CallError](err); ok {
					never[i] = !ce.MayHaveRun
				} else if err != nil {
					t.Errorf("call %d: %v is no CallError", i, err)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		cannot := 0
		for i := range runs {
			if got := runs[i].Load(); got > 1 || got == 1 && never[i] {
				t.Errorf("request %d has run %d times, and is said to may have: %t", i, got, !never[i])
			}
			if never[i] {
				cannot++
			}
		}
		if cannot < 10 || cannot > calls*9/10 {
			t.Errorf("%d of %d calls cannot have run: this tests less than it should", cannot, calls)
		}
		wantNothingLeft(t, s, far)
	})
}

// streamOnce makes a streaming call of one message and returns how it ended.
func streamOnce(ctx context.Context, s *peer.Session, req []byte) error {
	st, err := s.CallStream(ctx, "stream", &peer.CallOptions{Metadata: req[:4]})
	if err != nil {
		return err
	}
	_ = st.Send(ctx, req) // Recv says how it went
	_ = st.CloseSend(ctx)
	for {
		if _, err := st.Recv(context.Background()); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Ten thousand callers that give up at once leave nothing behind.
func TestCallCancellationStorm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		back, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		far.Handle("wait", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		const calls = 12_000 // more than the flows that may be open
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var canceled, refused atomic.Int32
		for range calls {
			wg.Go(func() {
				_, err := s.Call(ctx, "wait", []byte("x"), nil)
				var ce *peer.CallError
				switch {
				case errors.Is(err, context.Canceled):
					canceled.Add(1)
				case errors.As(err, &ce) && ce.Code == peer.CallUnavailable:
					refused.Add(1)
				default:
					t.Errorf("a call ended with %v", err)
				}
			})
		}
		time.Sleep(5 * time.Second)
		cancel()
		wg.Wait()
		if canceled.Load() == 0 || refused.Load() == 0 {
			t.Errorf("%d calls were cancelled and %d refused; want some of both", canceled.Load(), refused.Load())
		}
		wantNothingLeft(t, s, far)
		if st := back.Stats().Flow; st.OutgoingFlows+st.IncomingFlows != 0 {
			t.Errorf("the handler's side has %d flows out and %d in, want none", st.OutgoingFlows, st.IncomingFlows)
		}
		far.Handle("wait", answer)
		if _, err := s.Call(t.Context(), "wait", nil, nil); err != nil {
			t.Errorf("a call afterwards: %v", err)
		}
	})
}
