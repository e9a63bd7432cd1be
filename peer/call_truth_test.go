// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A deadline may be as far away as a time can be.
func TestCallFarDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		far.Handle("echo", answer)
		far.HandleStream("stream", echoStream)
		for _, deadline := range []time.Time{
			time.Now().AddDate(200, 0, 0), time.Now().AddDate(300, 0, 0), time.Unix(1<<60, 0),
		} {
			ctx, cancel := context.WithDeadline(t.Context(), deadline)
			if got, err := s.Call(ctx, "echo", []byte("x"), nil); err != nil || string(got) != "x" {
				t.Errorf("with the deadline %v: %q, %v; want x", deadline, got, err)
			}
			st, err := s.CallStream(ctx, "stream", nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = st.Close()
			cancel()
		}
		wantNothingLeft(t, s, far)
	})
}

// A handler that returns a code of this package cannot make the caller believe that the session is over.
func TestCallCodesOfTheCallee(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, s := callPair(t, nil)
		runs := 0
		far.Handle("lies", func(context.Context, *peer.Request) ([]byte, error) {
			runs++
			return nil, peer.Errorf(peer.CallDisconnected, "I am not here")
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := near.Call(ctx, far.ID(), "lies", nil, &peer.CallOptions{Idempotent: true})
		wantCallError(t, err, peer.CallDisconnected, true)
		if took := time.Since(start); took > time.Second || runs != 1 {
			t.Errorf("the call took %v and ran %d times, want a round trip and once: the session lives", took, runs)
		}
		if s.Err() != nil {
			t.Errorf("the session has ended: %v", s.Err())
		}
	})
}

// The text of an error is short, whatever the handler's side sends.
func TestCallErrorTextIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		far.HandleStream("long", func(ctx context.Context, st *peer.HandlerStream) error {
			return st.SendRaw(ctx, append([]byte("\x01\x01\x07"), strings.Repeat("x", 1<<20)...))
		})
		st, err := s.CallStream(t.Context(), "long", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = st.Recv(t.Context())
		if ce := wantCallError(t, err, peer.CallFailed, true); len(ce.Message) > 400 {
			t.Errorf("the message has %d bytes, want at most 400", len(ce.Message))
		}
	})
}

// Whoever waits with a context of its own learns how the call ended, although that context has ended too and by the same
// kind of error.
func TestCallStreamEndsWhileWaitEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		far.HandleStream("late", func(context.Context, *peer.HandlerStream) error {
			return peer.Errorf(peer.CallDeadline, "too late")
		})
		st, err := s.CallStream(t.Context(), "late", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the end is at hand
		wait, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		_, err = st.Recv(wait)
		ce := wantCallError(t, err, peer.CallDeadline, true)
		_, again := st.Recv(t.Context())
		if again != error(ce) {
			t.Errorf("the error is %v at first and then %v", ce, again)
		}
		wantNothingLeft(t, s, far)
	})
}

// All goroutines of a handler that receive see the end of the caller's messages, not only one.
func TestHandlerStreamEndsForAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		far.HandleStream("two", func(ctx context.Context, st *peer.HandlerStream) error {
			ends := make(chan error, 2)
			for range 2 {
				go func() {
					for {
						if _, err := st.Recv(ctx); err != nil {
							ends <- err
							return
						}
					}
				}()
			}
			for range 2 {
				if err := <-ends; !errors.Is(err, io.EOF) {
					return err
				}
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		st, err := s.CallStream(ctx, "two", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // both wait
		if err := st.CloseSend(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(ctx); !errors.Is(err, io.EOF) {
			t.Errorf("the call ended with %v, want io.EOF: a receiver of the handler was not told", err)
		}
	})
}

// A request that turns out to be too large for the peer, whose limit is not known yet, fails as such.
func TestCallTooLargeEarly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		near, far := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, &peer.Config{MaxMessage: 1 << 20})
		far.Handle("echo", answer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := near.Call(ctx, far.ID(), "echo", make([]byte, 2<<20), nil)
		wantCallError(t, err, peer.CallTooLarge, false)
	})
}

// A peer that knows no calls is not waited for.
func TestCallPeerKnowsNoCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, _, s := callPair(t, nil)
		f, err := s.OpenRaw("runnel.future", &flow.Options{Returns: 1})
		if err != nil {
			t.Fatal(err)
		}
		f.Announce()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var rejected *flow.RejectedError
		if _, err := f.AcceptReturn(ctx); !errors.As(err, &rejected) || rejected.Code != 0x4081 {
			t.Errorf("waiting for an answer to a flow that the peer does not know: %v, want that it was rejected", err)
		}
	})
}

// Who reads from a stream that the peer refuses is told so.
func TestReadFromRefusedStream(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		l, err := far.Listener("a")
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.OpenStream("a")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { _ = l.Close() })
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		var rejected *flow.RejectedError
		if _, err := c.Read(make([]byte, 1)); !errors.As(err, &rejected) {
			t.Errorf("reading from a stream that was refused: %v, want a RejectedError", err)
		}
	})
}

// A call whose time is up before it is made does nothing.
func TestEndpointCallTooLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		near, far := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		ctx, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		_, err := near.Call(ctx, far.ID(), "echo", nil, nil)
		wantCallError(t, err, peer.CallDeadline, false)
		if got := near.Stats().Sessions; got != 0 {
			t.Errorf("%d sessions were begun for a call that was over before it began", got)
		}
	})
}
