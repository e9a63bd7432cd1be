// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Ten thousand calls in a row, and five hundred at a time, leave no goroutine, no call and next to no memory behind.
func TestCallsLeaveNothing(t *testing.T) {
	sequential := 10_000
	if testing.Short() {
		sequential = 1000
	}
	bubble(t, func(t *testing.T) {
		near, far, s := callPair(t, nil)
		back, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		far.Handle("echo", answer)
		far.Handle("done", func(ctx context.Context, req *peer.Request) ([]byte, error) {
			select { // makes the context watch
			case <-ctx.Done():
			default:
			}
			return req.Data, nil
		})
		call := func(i int) {
			method := []string{"echo", "done"}[i%2]
			req := binary.BigEndian.AppendUint64(nil, uint64(i))
			got, err := s.Call(t.Context(), method, req, nil)
			if err != nil || string(got) != string(req) {
				t.Errorf("call %d was answered with %x, %v", i, got, err)
			}
		}
		many := func() {
			var wg sync.WaitGroup
			for i := range 500 {
				wg.Go(func() { call(i) })
			}
			wg.Wait()
		}
		many()
		for i := range 500 {
			call(i)
		}
		time.Sleep(20 * time.Second) // what the handshake and the flows needed ends
		synctest.Wait()
		goroutines, before := runtime.NumGoroutine(), heap()
		for i := range sequential {
			call(i)
		}
		for range 4 {
			many()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := runtime.NumGoroutine(); got > goroutines+2 { // the runtime counts those that are about to end
			t.Errorf("%d goroutines, %d before", got, goroutines)
		}
		if grown := int64(heap()) - int64(before); grown > 1<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		for _, e := range []*peer.Endpoint{near, far} {
			if got := e.Stats().Calls; got != 0 {
				t.Errorf("%d calls are left, want 0", got)
			}
		}
		for _, s := range []*peer.Session{s, back} {
			if st := s.Stats().Flow; st.OutgoingFlows+st.IncomingFlows != 0 {
				t.Errorf("%d flows are still sent and %d received, want none", st.OutgoingFlows, st.IncomingFlows)
			}
		}
	})
}

// Whatever is lost, and whatever the caller does, no request is handled twice; one whose caller got an answer was
// handled once, and one that cannot have run was not.
func TestCallAtMostOnceUnderLoss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		// A packet passes two links: every fifth is lost.
		n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.11, Seed: 7, NoRelay: true})
		near, far := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		const calls = 300
		var runs [calls]atomic.Int32
		far.Handle("count", func(_ context.Context, req *peer.Request) ([]byte, error) {
			runs[binary.BigEndian.Uint64(req.Data)].Add(1)
			return nil, nil
		})
		var wg sync.WaitGroup
		var answered, lost, never atomic.Int32
		for i := range calls {
			time.Sleep(3 * time.Millisecond)
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(40+i)*time.Millisecond)
				defer cancel()
				_, err := near.Call(ctx, far.ID(), "count", binary.BigEndian.AppendUint64(nil, uint64(i)), nil)
				got := runs[i].Load()
				var ce *peer.CallError
				switch {
				case err == nil:
					answered.Add(1)
					if got != 1 {
						t.Errorf("request %d was answered after %d runs, want 1", i, got)
					}
				case errors.As(err, &ce) && !ce.MayHaveRun:
					never.Add(1)
					time.Sleep(20 * time.Second)
					if got := runs[i].Load(); got != 0 {
						t.Errorf("request %d has run %d times, but its error says that it cannot have: %v", i, got, err)
					}
				default:
					lost.Add(1)
				}
			})
		}
		wg.Wait()
		time.Sleep(20 * time.Second)
		for i := range runs {
			if got := runs[i].Load(); got > 1 {
				t.Errorf("request %d has run %d times", i, got)
			}
		}
		if answered.Load() < calls/4 || lost.Load() == 0 {
			t.Errorf("%d calls were answered and %d lost: this tests less than it should", answered.Load(), lost.Load())
		}
		t.Logf("%d answered, %d perhaps run, %d never sent", answered.Load(), lost.Load(), never.Load())
	})
}

// Both ends of a session call each other, also from within handlers.
func TestCallsBothWays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, s := callPair(t, nil)
		back, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		countdown := func(ctx context.Context, req *peer.Request) ([]byte, error) {
			n := req.Data[0]
			if n == 0 {
				return []byte{0}, nil
			}
			resp, err := req.Session.Call(ctx, "countdown", []byte{n - 1}, nil)
			if err != nil {
				return nil, err
			}
			return append(resp, n), nil
		}
		near.Handle("countdown", countdown)
		far.Handle("countdown", countdown)
		var wg sync.WaitGroup
		for _, from := range []*peer.Session{s, back} {
			for range 20 {
				wg.Go(func() {
					if got, err := from.Call(t.Context(), "countdown", []byte{7}, nil); err != nil || len(got) != 8 {
						t.Errorf("answer is %v, %v; want 8 numbers", got, err)
					}
				})
			}
		}
		wg.Wait()

		// A session's own handler goes before the endpoint's.
		s.Handle("countdown", func(context.Context, *peer.Request) ([]byte, error) { return []byte("own"), nil })
		if got, err := back.Call(t.Context(), "countdown", []byte{7}, nil); err != nil || string(got) != "own" {
			t.Errorf("answer is %q, %v; want own", got, err)
		}
	})
}

// An endpoint that is closed waits for its handlers, but not for longer than it is told.
func TestCloseWaitsForHandlers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		started, release := make(chan struct{}, 2), make(chan struct{})
		var finished atomic.Bool
		far.Handle("tidy", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			started <- struct{}{}
			<-ctx.Done()
			time.Sleep(time.Second) // puts things in order
			finished.Store(true)
			return nil, nil
		})
		far.Handle("stubborn", func(context.Context, *peer.Request) ([]byte, error) {
			started <- struct{}{}
			<-release
			return nil, nil
		})
		var wg sync.WaitGroup
		for _, method := range []string{"tidy", "stubborn"} {
			wg.Go(func() {
				_, err := s.Call(t.Context(), method, nil, nil)
				wantCallError(t, err, peer.CallDisconnected, true)
			})
			<-started
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if err := far.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 5*time.Second || !finished.Load() {
			t.Errorf("Close took %v, and the tidy handler has finished: %t; want all of 5s, and true", took, finished.Load())
		}
		close(release)
		wg.Wait()
	})
}

// A second Close hastens the first, also when that waits for handlers.
func TestSecondCloseHastens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		started, release := make(chan struct{}), make(chan struct{})
		far.Handle("stubborn", func(context.Context, *peer.Request) ([]byte, error) {
			close(started)
			<-release
			return nil, nil
		})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = s.Call(t.Context(), "stubborn", nil, nil) })
		<-started
		start := time.Now()
		wg.Go(func() { _ = far.Close(context.Background()) })
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		wg.Go(func() { _ = far.Close(ctx) })
		time.AfterFunc(time.Minute, func() { close(release) })
		wg.Wait()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("the endpoint took %v to close, want 5s, when the second Close was told to stop waiting", took)
		}
		<-release
	})
}
