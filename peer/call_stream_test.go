// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// echoStream returns every message until there are no more.
func echoStream(ctx context.Context, st *peer.HandlerStream) error {
	for {
		m, err := st.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := st.Send(ctx, m); err != nil {
			return err
		}
	}
}

func TestCallStream(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		far.HandleStream("echo", echoStream)
		st, err := s.CallStream(t.Context(), "echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 200_000, 3} {
			m := bytes.Repeat([]byte{byte(size)}, size)
			if err := st.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if got, err := st.Recv(t.Context()); err != nil || !bytes.Equal(got, m) {
				t.Errorf("%d bytes, %v came back; want the %d sent", len(got), err, size)
			}
		}
		wait, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := st.Recv(wait); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for nothing: %v, want the context's error", err)
		}
		if err := st.Send(t.Context(), []byte("last")); err != nil {
			t.Fatalf("the end of a wait has ended the call: %v", err)
		}
		if err := st.CloseSend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := st.Recv(t.Context()); err != nil || string(got) != "last" {
			t.Errorf("%q, %v; want last", got, err)
		}
		for range 2 {
			if got, err := st.Recv(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("after the last message: %q, %v; want io.EOF", got, err)
			}
		}
		if err := st.Send(t.Context(), nil); !errors.Is(err, io.EOF) {
			t.Errorf("sending after the end: %v, want io.EOF", err)
		}
		wantNothingLeft(t, s, far)
	})
}

// wantNothingLeft checks that no call and no flow is left of what there was.
func wantNothingLeft(t *testing.T, s *peer.Session, far *peer.Endpoint) {
	t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	if got := far.Stats().Calls; got != 0 {
		t.Errorf("%d calls are left, want 0", got)
	}
	if st := s.Stats().Flow; st.OutgoingFlows+st.IncomingFlows != 0 {
		t.Errorf("%d flows are still sent and %d received, want none", st.OutgoingFlows, st.IncomingFlows)
	}
}

// A handler may speak first, say something and fail, or end before it has heard everything.
func TestCallStreamHandlerEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		far.HandleStream("fails", func(ctx context.Context, st *peer.HandlerStream) error {
			if err := st.Send(ctx, st.Request().Metadata); err != nil {
				return err
			}
			return peer.Errorf(1234, "that is all")
		})
		far.HandleStream("panics", func(context.Context, *peer.HandlerStream) error { panic("secret") })
		far.HandleStream("exits", func(context.Context, *peer.HandlerStream) error { runtime.Goexit(); return nil })
		far.HandleStream("breaks off", func(ctx context.Context, st *peer.HandlerStream) error {
			_ = st.Send(ctx, st.Request().Metadata)
			time.Sleep(time.Second)
			runtime.Goexit()
			return nil
		})
		o := &peer.CallOptions{Metadata: []byte("hello")}
		for _, test := range []struct {
			method   string
			messages int
			code     peer.CallCode
			ran      bool
		}{
			{"fails", 1, 1234, true},
			{"panics", 0, peer.CallInternal, true},
			{"exits", 0, peer.CallInternal, true},
			{"breaks off", 1, peer.CallInternal, true},
			{"unknown", 0, peer.CallNotFound, false},
		} {
			st, err := s.CallStream(t.Context(), test.method, o)
			if err != nil {
				t.Fatal(err)
			}
			for range test.messages {
				if got, err := st.Recv(t.Context()); err != nil || string(got) != "hello" {
					t.Errorf("%s: %q, %v; want hello", test.method, got, err)
				}
			}
			_, err = st.Recv(t.Context())
			wantCallError(t, err, test.code, test.ran)
			_, again := st.Recv(t.Context())
			if again != err {
				t.Errorf("%s: the error is %v at first and then %v", test.method, err, again)
			}
			if err := st.Send(t.Context(), make([]byte, 100)); !errors.Is(err, io.EOF) {
				t.Errorf("%s: sending after the end: %v, want io.EOF", test.method, err)
			}
		}
		wantNothingLeft(t, s, far)
	})
}

// However the caller gives up, the handler's context ends, whatever the handler is busy with.
func TestCallStreamCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		ended := make(chan error, 1)
		far.HandleStream("idle", func(ctx context.Context, _ *peer.HandlerStream) error {
			<-ctx.Done()
			ended <- ctx.Err()
			return nil
		})
		far.HandleStream("receives", func(ctx context.Context, st *peer.HandlerStream) error {
			_, err := st.Recv(ctx)
			ended <- err
			return err
		})
		far.HandleStream("sends", func(ctx context.Context, st *peer.HandlerStream) error {
			for {
				if err := st.Send(ctx, make([]byte, 10_000)); err != nil {
					ended <- err
					return err
				}
			}
		})
		for _, method := range []string{"idle", "receives", "sends"} {
			for _, half := range []bool{false, true} { // the caller has closed its half before
				if half && method == "receives" {
					continue // it would have ended
				}
				for how, code := range map[string]peer.CallCode{
					"close": peer.CallCanceled, "cancel": peer.CallCanceled, "deadline": peer.CallDeadline,
				} {
					ctx, cancel := context.WithCancel(t.Context())
					if how == "deadline" {
						ctx, cancel = context.WithTimeout(t.Context(), time.Second)
					}
					st, err := s.CallStream(ctx, method, nil)
					if err != nil {
						t.Fatal(err)
					}
					if half {
						if err := st.CloseSend(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(500 * time.Millisecond)
					switch how {
					case "close":
						if err := st.Close(); err != nil {
							t.Fatal(err)
						}
					case "cancel":
						cancel()
					}
					if err := <-ended; err == nil {
						t.Errorf("%s, %s: the handler was told nothing", method, how)
					}
					for err = nil; err == nil; { // what had come
						_, err = st.Recv(t.Context())
					}
					wantCallError(t, err, code, true)
					cancel()
				}
			}
		}
		wantNothingLeft(t, s, far)
		st, err := s.CallStream(t.Context(), "idle", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { s.Abort(2000, "enough") })
		_, err = st.Recv(t.Context())
		wantCallError(t, err, peer.CallDisconnected, true)
		if err := <-ended; err == nil {
			t.Error("the handler was told nothing of the session's end")
		}
	})
}

// A side that does not receive stops the other, and what it has to keep is bounded.
func TestCallStreamBackPressure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		read := make(chan int, 1)
		far.HandleStream("slow", func(ctx context.Context, st *peer.HandlerStream) error {
			time.Sleep(time.Minute)
			n := 0
			for {
				m, err := st.Recv(ctx)
				if errors.Is(err, io.EOF) {
					read <- n
					return nil
				}
				if err != nil {
					return err
				}
				n += len(m)
			}
		})
		st, err := s.CallStream(t.Context(), "slow", nil)
		if err != nil {
			t.Fatal(err)
		}
		limited, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		sent := 0
		for err == nil {
			if err = st.Send(limited, make([]byte, 10_000)); err == nil {
				sent += 10_000
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) || sent > 4<<20 {
			t.Errorf("%d bytes could be sent to a handler that receives nothing, then %v; want a few MiB and a deadline", sent, err)
		}
		if err := st.CloseSend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("the call ended with %v, want io.EOF", err)
		}
		if got := <-read; got != sent {
			t.Errorf("the handler received %d bytes, want the %d sent", got, sent)
		}
	})
}
