// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
)

// Calls that are not as they should be are answered, or refused, or ignored; nothing is left of them and the session
// goes on.
func TestCallHostileCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		var runs atomic.Int32
		far.Handle("x", func(_ context.Context, req *peer.Request) ([]byte, error) {
			runs.Add(1)
			return req.Data, nil
		})
		far.HandleStream("s", echoStream)
		open := func(metadata string, returns int) *flow.Sender {
			t.Helper()
			f, err := s.OpenRaw("runnel.call", &flow.Options{Metadata: []byte(metadata), Returns: returns})
			if err != nil {
				t.Fatal(err)
			}
			f.Announce()
			return f
		}
		send := func(f *flow.Sender, m string) {
			t.Helper()
			if _, err := f.Send(t.Context(), []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		for _, bad := range []string{"", "\xff\x00\x01x", "\x08", "\x08\x00", "\x08\x00\x05x", "\x08\x00\x40\x81"} {
			f := open(bad, 1)
			in, err := f.AcceptReturn(t.Context())
			if err != nil {
				t.Fatalf("metadata %x: %v", bad, err)
			}
			if got := in.Metadata(); len(got) < 2 || got[0] != 0 || peer.CallCode(got[1]) != peer.CallInternal {
				t.Errorf("metadata %x was answered %x, want that the handler has not run", bad, got)
			}
			in.Reject(0)
			f.Abort(0)
		}

		// Nobody wants the answer; the request never comes; too many come; the flow ends instead of being held open.
		f := open("\x08\x00\x01x", 0)
		send(f, "unanswerable")
		open("\x08\x00\x01x", 1).Abort(0)
		twice := open("\x08\x00\x01x", 1)
		send(twice, "once")
		send(twice, "twice")
		ended := open("\x08\x00\x01x", 1)
		send(ended, "done")
		_ = ended.Close(t.Context())
		never := open("\x08\x00\x01x", 1)
		time.Sleep(time.Second)
		if got := far.Stats().Calls; got != 1 {
			t.Errorf("%d calls are being handled, want the one whose request has not come", got)
		}
		never.Abort(0)
		twice.Abort(0)
		f.Abort(0)
		if got := runs.Load(); got > 3 {
			t.Errorf("the handler ran %d times for at most 3 requests", got)
		}

		// A stream of messages that are none.
		for _, m := range []string{"", "\x02x"} {
			st := open("\x09\x00\x01s", 1)
			send(st, m)
			in, err := st.AcceptReturn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := in.Recv(t.Context()); err != nil || len(got.Data) < 3 || got.Data[0] != 1 {
				t.Errorf("message %x was answered %x, %v; want the end of the call", m, got.Data, err)
			}
			in.Reject(0)
			st.Abort(0)
		}

		var rejected *flow.RejectedError
		unknown, err := s.OpenRaw("runnel.future", nil)
		if err != nil {
			t.Fatal(err)
		}
		unknown.Announce()
		time.Sleep(time.Second)
		if err := unknown.Close(t.Context()); !errors.As(err, &rejected) || rejected.Code != 0x4081 {
			t.Errorf("a flow under an unknown reserved label: %v, want it rejected with 0x4081", err)
		}
		wantNothingLeft(t, s, far)
		if got, err := s.Call(t.Context(), "x", []byte("still there"), nil); err != nil || string(got) != "still there" {
			t.Errorf("a good call afterwards: %q, %v", got, err)
		}
	})
}

// A peer that begins calls and never sends their requests takes its own places only.
func TestCallSlowCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, far, s := callPair(t, &peer.Config{MaxConcurrentCalls: 4, MaxSessionCalls: 2, MaxQueuedCalls: 8})
		far.Handle("x", answer)
		for range 100 {
			f, err := s.OpenRaw("runnel.call", &flow.Options{Metadata: []byte("\x08\x00\x01x"), Returns: 1})
			if err != nil {
				t.Fatal(err)
			}
			f.Announce()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := far.Stats(); got.Calls != 4 || got.CallsRefused != 96 {
			t.Errorf("%d calls wait and %d were refused, want 4, which is one peer's share, and 96", got.Calls, got.CallsRefused)
		}
		_, err := s.Call(t.Context(), "x", nil, nil)
		wantCallError(t, err, peer.CallUnavailable, false)
		near.Handle("x", answer)
		back, err := far.Dial(t.Context(), near.ID())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := back.Call(t.Context(), "x", nil, nil); err != nil {
			t.Errorf("a call the other way: %v", err)
		}
		s.Abort(2000, "")
		time.Sleep(time.Second)
		if got := far.Stats().Calls; got != 0 {
			t.Errorf("%d calls are left of a session that is over", got)
		}
		if _, err := near.Call(t.Context(), far.ID(), "x", nil, nil); err != nil {
			t.Errorf("a call on a new session: %v", err)
		}
	})
}
