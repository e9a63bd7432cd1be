// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Whatever an application gives as the reason for an end, the peer gets as much of it as may travel.
func TestAbortWithAnyReason(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for reason, want := range map[string]string{
			strings.Repeat("é", 200):       strings.Repeat("é", 128),
			"x" + strings.Repeat("é", 200): "x" + strings.Repeat("é", 127),
			"\xff":                         string(utf8.RuneError),
		} {
			_, far, s := callPair(t, nil)
			back, err := far.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.Abort(math.MaxUint64, reason)
			<-back.Done()
			var ce *peer.CloseError
			if err := back.Err(); !errors.As(err, &ce) || !ce.Remote || ce.Code != 1<<62-1 || ce.Reason != want {
				t.Errorf("the peer's session ended with %v, want the largest code there is and the reason %q", err, want)
			}
		}
	})
}

// Limits of calls may be as large as a number can be.
func TestCallLimitsWithoutLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, &peer.Config{
			MaxConcurrentCalls: math.MaxInt, MaxSessionCalls: math.MaxInt, MaxQueuedCalls: math.MaxInt, MaxQueuedBytes: math.MaxInt,
		})
		far.Handle("echo", answer)
		if got, err := s.Call(t.Context(), "echo", []byte("x"), nil); err != nil || string(got) != "x" {
			t.Errorf("calling: %q, %v; want x", got, err)
		}
	})
}

// A handler that looks at its context now and then, and never waits for it, learns why it has ended, and does not hear
// something else later.
func TestHandlerPollsItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		type ended struct{ first, cause, later error }
		seen := make(chan ended, 1)
		far.Handle("poll", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			var e ended
			for e.first == nil {
				time.Sleep(time.Millisecond)
				e.first = ctx.Err()
			}
			e.cause = context.Cause(ctx)
			time.Sleep(time.Minute) // the deadline passes too
			e.later = ctx.Err()
			seen <- e
			return nil, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		time.AfterFunc(time.Second, cancel)
		_, err := s.Call(ctx, "poll", nil, nil)
		wantCallError(t, err, peer.CallCanceled, true)
		e := <-seen
		var aborted *flow.AbortedError
		if e.first != context.Canceled || !errors.As(e.cause, &aborted) || e.later != e.first {
			t.Errorf("the context ended with %v because of %v, and later %v; want context.Canceled because the caller aborted, both times",
				e.first, e.cause, e.later)
		}
	})
}

// That a session could not be established in time is not a deadline of the stream's, however far it had come.
func TestStreamOfFailedDial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, nil)
		seen := make(map[peer.Stage]bool)
		for timeout := 5 * time.Millisecond; !seen[peer.StageHandshake] && timeout < time.Second; timeout += 5 * time.Millisecond {
			near := n.Endpoint(peertest.Public, &peer.Config{HandshakeTimeout: timeout})
			s, err := near.DialEarly(peer.Target{ID: far.ID()})
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.OpenStream("x")
			if err != nil {
				t.Fatal(err)
			}
			var de *peer.DialError
			if _, err = c.Read(make([]byte, 1)); !errors.As(err, &de) || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("reading, after %v for the session: %v; want a DialError, and no deadline of the stream", timeout, err)
			}
			seen[de.Stage] = true
		}
		if !seen[peer.StageHandshake] {
			t.Errorf("sessions have failed at %v, want the handshake among them", seen)
		}
	})
}

// A reader learns why a dial has failed also if it does so before the session has told everybody that it is over.
func TestStreamOfFailingDial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, nil)
		s, err := n.Endpoint(peertest.Public, nil).DialEarly(peer.Target{ID: far.ID()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.OpenStream("x")
		if err != nil {
			t.Fatal(err)
		}
		err = c.Wrapped(&peer.DialError{ID: far.ID(), Stage: peer.StageHandshake, Err: context.DeadlineExceeded})
		if !errors.As(err, new(*peer.DialError)) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading: %v; want the DialError, and no deadline of the stream", err)
		}
	})
}
