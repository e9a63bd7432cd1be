// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

const callRTT = 20 * time.Millisecond // of the network of callPair

// callPair returns two endpoints on a network, and the session from the first to the second.
func callPair(t *testing.T, c *peer.Config) (near, far *peer.Endpoint, s *peer.Session) {
	t.Helper()
	n := peertest.New(t, &peertest.Config{OneWay: callRTT / 4, NoRelay: true})
	near, far = n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, c)
	s, err := near.Dial(t.Context(), far.ID())
	if err != nil {
		t.Fatal(err)
	}
	return near, far, s
}

// answer is a handler that returns its request.
func answer(_ context.Context, req *peer.Request) ([]byte, error) { return req.Data, nil }

// waitCanceled is a handler that does nothing until it is told to stop. It sends why on ended.
func waitCanceled(ended chan<- error) peer.HandlerFunc {
	return func(ctx context.Context, _ *peer.Request) ([]byte, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}
}

// wantCallError checks that err is a CallError with a code, and whether the handler may have run.
func wantCallError(t *testing.T, err error, code peer.CallCode, ran bool) *peer.CallError {
	t.Helper()
	var ce *peer.CallError
	if !errors.As(err, &ce) {
		t.Fatalf("error is %v (%T), want a CallError with code %v", err, err, code)
	}
	if ce.Code != code || ce.MayHaveRun != ran {
		t.Fatalf("error is %v, MayHaveRun %t; want code %v, MayHaveRun %t", ce, ce.MayHaveRun, code, ran)
	}
	return ce
}

func TestCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, s := callPair(t, nil)
		far.Handle("who", func(_ context.Context, req *peer.Request) ([]byte, error) {
			return fmt.Appendf(nil, "%s %v %s %s", req.Method, req.Session.Peer() == near.ID(), req.Metadata, req.Data), nil
		})
		for _, size := range []int{0, 1, 100_000, 2 << 20} {
			data := bytes.Repeat([]byte{'x'}, size)
			got, err := s.Call(t.Context(), "who", data, &peer.CallOptions{Metadata: []byte("meta")})
			if want := "who true meta " + string(data); err != nil || string(got) != want {
				t.Errorf("a request of %d bytes was answered with %d bytes, %v; want %d", size, len(got), err, len(want))
			}
		}
	})
}

// A small call costs exactly one round trip.
func TestCallTakesOneRoundTrip(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		far.Handle("echo", answer)
		time.Sleep(time.Second) // what is left of the handshake
		for range 3 {
			start := time.Now()
			if _, err := s.Call(t.Context(), "echo", []byte("x"), nil); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != callRTT {
				t.Errorf("a call took %v, want one round trip, %v", took, callRTT)
			}
		}
	})
}

func TestEndpointCallDials(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		near, far := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		far.Handle("echo", answer)
		got, err := near.Call(t.Context(), far.ID(), "echo", []byte("hi"), nil)
		if err != nil || string(got) != "hi" {
			t.Errorf("answer is %q, %v; want hi", got, err)
		}
		stranger, err := signaling.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		_, err = near.Call(t.Context(), signaling.IDFromKey(stranger), "echo", nil, nil)
		if ce := wantCallError(t, err, peer.CallDisconnected, false); !errors.Is(ce, peer.ErrNotFound) {
			t.Errorf("error is %v, want one that is ErrNotFound", err)
		}
	})
}

// The caller's deadline reaches the handler: relative, in milliseconds, rounded up.
func TestCallDeadlineTravels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		left := make(chan time.Duration, 1)
		far.Handle("left", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			deadline, ok := ctx.Deadline()
			if !ok {
				left <- 0
				return nil, nil
			}
			left <- time.Until(deadline)
			return nil, nil
		})
		for _, test := range []struct{ timeout, want time.Duration }{
			{0, 0},
			{time.Second, time.Second},
			{1500*time.Millisecond + 1, 1501 * time.Millisecond},
			{48 * time.Hour, 48 * time.Hour},
		} {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if test.timeout > 0 {
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
			}
			if _, err := s.Call(ctx, "left", nil, nil); err != nil {
				t.Errorf("with a timeout of %v: %v", test.timeout, err)
			}
			cancel()
			if got := <-left; got != test.want {
				t.Errorf("with a timeout of %v the handler has %v, want %v", test.timeout, got, test.want)
			}
		}
	})
}

// When the deadline passes, both sides notice it by themselves.
func TestCallDeadlinePasses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		ended := make(chan error, 1)
		far.Handle("wait", waitCanceled(ended))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := s.Call(ctx, "wait", nil, nil)
		if took := time.Since(start); took != time.Second {
			t.Errorf("the call took %v, want its timeout, 1s", took)
		}
		ce := wantCallError(t, err, peer.CallDeadline, true)
		if !errors.Is(ce, context.DeadlineExceeded) || !errors.Is(ce, os.ErrDeadlineExceeded) {
			t.Errorf("error %v is neither context's nor os's deadline error", err)
		}
		if !ce.Timeout() {
			t.Errorf("error %v is no timeout", err)
		}
		if err := <-ended; err == nil {
			t.Error("the handler's context has not ended")
		}
		_, err = s.Call(ctx, "wait", nil, nil) // which has passed already
		wantCallError(t, err, peer.CallDeadline, false)
	})
}

// A caller that gives up cancels the handler one way later, whether or not the handler had started to wait.
func TestCallCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		ended := make(chan error, 1)
		far.Handle("wait", waitCanceled(ended))
		far.Handle("poll", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			for ctx.Err() == nil { // never looks at Done
				time.Sleep(time.Millisecond)
			}
			ended <- ctx.Err()
			return nil, nil
		})
		for _, method := range []string{"wait", "poll"} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			_, err := s.Call(ctx, method, nil, nil)
			if !errors.Is(wantCallError(t, err, peer.CallCanceled, true), context.Canceled) {
				t.Errorf("%s: error is %v, want one that is context.Canceled", method, err)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: the handler's context ended with %v, want context.Canceled", method, err)
			}
			if took := time.Since(start); took > time.Second+callRTT/2+time.Millisecond {
				t.Errorf("%s: the handler was cancelled after %v, want one way after 1s", method, took)
			}
		}
	})
}

// What a handler derives from its context ends with it, and can say why.
func TestCallDerivedContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		type key struct{}
		ended := make(chan error, 2)
		far.Handle("derive", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			if err := context.Cause(ctx); err != nil {
				t.Errorf("the context ends before it begins: %v", err)
			}
			derived, cancel := context.WithTimeout(context.WithValue(ctx, key{}, "value"), time.Hour)
			defer cancel()
			if got := derived.Value(key{}); got != "value" {
				t.Errorf("value is %v, want value", got)
			}
			context.AfterFunc(ctx, func() { ended <- context.Cause(ctx) })
			<-derived.Done()
			ended <- context.Cause(derived)
			return nil, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := s.Call(ctx, "derive", nil, nil)
		wantCallError(t, err, peer.CallCanceled, true)
		for range 2 {
			var aborted *flow.AbortedError
			if err := <-ended; !errors.As(err, &aborted) || peer.CallCode(aborted.Code) != peer.CallCanceled {
				t.Errorf("the cause is %v, want the caller's abort with code %d", err, peer.CallCanceled)
			}
		}
		// It also ends when the handler has returned.
		kept := make(chan context.Context, 1)
		far.Handle("keep", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			kept <- ctx
			return nil, nil
		})
		if _, err := s.Call(t.Context(), "keep", nil, nil); err != nil {
			t.Fatal(err)
		}
		over := <-kept
		<-over.Done()
		if err := over.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("after the handler the context's error is %v, want context.Canceled", err)
		}
	})
}

func TestCallErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		long := strings.Repeat("é", 1000)
		far.Handle("coded", func(context.Context, *peer.Request) ([]byte, error) {
			return []byte("dropped"), fmt.Errorf("wrapped: %w", peer.Errorf(2000, "no %s today", "fish"))
		})
		far.Handle("plain", func(context.Context, *peer.Request) ([]byte, error) { return nil, errors.New("plain text") })
		far.Handle("long", func(context.Context, *peer.Request) ([]byte, error) { return nil, errors.New(long) })
		far.Handle("panics", func(context.Context, *peer.Request) ([]byte, error) { panic("secret") })
		far.Handle("exits", func(context.Context, *peer.Request) ([]byte, error) { runtime.Goexit(); return nil, nil })
		far.HandleStream("stream", func(context.Context, *peer.HandlerStream) error { return nil })
		for _, test := range []struct {
			method string
			code   peer.CallCode
			ran    bool
			text   string
		}{
			{"coded", 2000, true, "no fish today"},
			{"plain", peer.CallFailed, true, "plain text"},
			{"long", peer.CallFailed, true, long[:400]},
			{"panics", peer.CallInternal, true, "the handler panicked"},
			{"exits", peer.CallInternal, true, "the handler panicked"},
			{"unknown", peer.CallNotFound, false, ""},
			{"stream", peer.CallNotFound, false, "the method is of the other kind, streaming or not"},
		} {
			_, err := s.Call(t.Context(), test.method, nil, nil)
			if ce := wantCallError(t, err, test.code, test.ran); ce.Message != test.text {
				t.Errorf("%s: message is %q, want %q", test.method, ce.Message, test.text)
			}
		}
		far.Handle("coded", nil)
		_, err := s.Call(t.Context(), "coded", nil, nil)
		wantCallError(t, err, peer.CallNotFound, false)
	})
}

func TestCallLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, &peer.Config{MaxRequest: 1000, MaxMessage: 4 << 20})
		far.Handle("echo", answer)
		far.Handle("huge", func(context.Context, *peer.Request) ([]byte, error) { return make([]byte, 17<<20), nil })
		if _, err := s.Call(t.Context(), "echo", make([]byte, 1000), &peer.CallOptions{MaxResponse: 1000}); err != nil {
			t.Errorf("at the limits: %v", err)
		}
		_, err := s.Call(t.Context(), "echo", make([]byte, 1001), nil)
		wantCallError(t, err, peer.CallTooLarge, false)
		_, err = s.Call(t.Context(), "echo", make([]byte, 5<<20), nil) // above the peer's MaxMessage
		wantCallError(t, err, peer.CallTooLarge, false)
		_, err = s.Call(t.Context(), "echo", make([]byte, 100), &peer.CallOptions{MaxResponse: 99})
		wantCallError(t, err, peer.CallTooLarge, true)
		_, err = s.Call(t.Context(), "huge", nil, nil)
		wantCallError(t, err, peer.CallTooLarge, true)
		_, err = s.Call(t.Context(), strings.Repeat("m", peer.MaxMethod+1), nil, nil)
		wantCallError(t, err, peer.CallTooLarge, false)
		_, err = s.Call(t.Context(), "echo", nil, &peer.CallOptions{Metadata: make([]byte, peer.MaxCallMetadata+1)})
		wantCallError(t, err, peer.CallTooLarge, false)
		longest := strings.Repeat("m", peer.MaxMethod)
		far.Handle(longest, answer)
		_, err = s.Call(t.Context(), longest, nil, &peer.CallOptions{Metadata: make([]byte, peer.MaxCallMetadata)})
		if err != nil {
			t.Errorf("the longest method with the most metadata: %v", err)
		}
	})
}

// What the error says of a session that ended: before the call, during it, and before it was ever established.
func TestCallSessionEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, s := callPair(t, nil)
		ended := make(chan error, 1)
		far.Handle("wait", waitCanceled(ended))
		time.AfterFunc(time.Second, func() { s.Abort(2001, "enough") })
		_, err := s.Call(t.Context(), "wait", nil, nil)
		var closed *peer.CloseError
		if ce := wantCallError(t, err, peer.CallDisconnected, true); !errors.As(ce, &closed) || closed.Code != 2001 {
			t.Errorf("error is %v, want one with the session's end in it", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the handler's context ended with %v, want context.Canceled", err)
		}
		_, err = s.Call(t.Context(), "wait", nil, nil)
		wantCallError(t, err, peer.CallDisconnected, false)

		// A session that never came to be has carried nothing.
		stranger, err := signaling.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		early, err := near.DialEarly(peer.Target{ID: signaling.IDFromKey(stranger)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = early.Call(t.Context(), "wait", nil, nil)
		wantCallError(t, err, peer.CallDisconnected, false)

		// Neither has one that is being established when the caller gives up.
		early, err = near.DialEarly(peer.Target{ID: far.ID()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), callRTT/4)
		defer cancel()
		_, err = early.Call(ctx, "wait", nil, nil)
		wantCallError(t, err, peer.CallDeadline, false)
		if err := early.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		select {
		case <-ended:
			t.Error("the handler has run although the error said that it cannot have")
		default:
		}
	})
}

// Endpoint.Call makes a call again on a new session only if it is idempotent.
func TestCallAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, _ := callPair(t, nil)
		var runs atomic.Int32
		far.Handle("flaky", func(ctx context.Context, req *peer.Request) ([]byte, error) {
			if runs.Add(1) <= 2 {
				req.Session.Abort(2000, "flaky")
				<-ctx.Done()
			}
			return []byte("done"), nil
		})
		_, err := near.Call(t.Context(), far.ID(), "flaky", nil, nil)
		wantCallError(t, err, peer.CallDisconnected, true)
		if got := runs.Load(); got != 1 {
			t.Errorf("the handler ran %d times, want 1: the call is not idempotent", got)
		}
		runs.Store(0)
		got, err := near.Call(t.Context(), far.ID(), "flaky", nil, &peer.CallOptions{Idempotent: true})
		if err != nil || string(got) != "done" || runs.Load() != 3 {
			t.Errorf("the idempotent call was answered with %q, %v after %d runs; want done after 3", got, err, runs.Load())
		}
	})
}

func TestCallOverload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, &peer.Config{MaxConcurrentCalls: 3, MaxSessionCalls: 2, MaxQueuedCalls: 4})
		release := make(chan struct{})
		var running, most atomic.Int32
		far.Handle("hold", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, nil
		})
		var wg sync.WaitGroup
		var good atomic.Int32
		refused := make(chan error, 10)
		for range 6 { // two run, one waits
			wg.Go(func() {
				if _, err := s.Call(t.Context(), "hold", nil, nil); err != nil {
					refused <- err
				} else {
					good.Add(1)
				}
			})
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if got := far.Stats(); got.Calls != 3 || got.CallsRefused != 3 || running.Load() != 2 {
			t.Errorf("%d calls admitted, %d refused, %d running; want 3, 3 and 2", got.Calls, got.CallsRefused, running.Load())
		}
		// One that waits in line and gives up leaves the line.
		close(release)
		wg.Wait()
		if good.Load() != 3 || most.Load() != 2 || len(refused) != 3 {
			t.Errorf("%d calls went well, at most %d at a time, %d were refused; want 3, 2, 3", good.Load(), most.Load(), len(refused))
		}
		for range len(refused) {
			wantCallError(t, <-refused, peer.CallUnavailable, false)
		}
		time.Sleep(time.Second)
		if got := far.Stats().Calls; got != 0 {
			t.Errorf("%d calls are left, want 0", got)
		}
	})
}

// A call that waits for a handler to end, and is given up, is never run.
func TestCallGivenUpInLine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, &peer.Config{MaxConcurrentCalls: 1})
		release := make(chan struct{})
		var runs atomic.Int32
		far.Handle("hold", func(context.Context, *peer.Request) ([]byte, error) {
			runs.Add(1)
			<-release // outlives its caller
			return nil, nil
		})
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := s.Call(ctx, "hold", nil, nil)
			cancel()
			wantCallError(t, err, peer.CallDeadline, true)
		}
		time.Sleep(callRTT) // the last one's end arrives
		close(release)
		time.Sleep(time.Second)
		if got := runs.Load(); got != 1 {
			t.Errorf("the handler ran %d times, want once: the others had given up while it was busy", got)
		}
		if got := far.Stats().Calls; got != 0 {
			t.Errorf("%d calls are left, want 0", got)
		}
	})
}
