// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// rawCall begins a call of a method with one letter by hand. The answer is not asked for.
func rawCall(t *testing.T, s *peer.Session, method string, request []byte) *flow.Sender {
	t.Helper()
	f, err := s.OpenRaw("runnel.call", &flow.Options{Metadata: []byte("\x08\x00\x01" + method), Returns: 1})
	if err != nil {
		t.Fatal(err)
	}
	if request == nil {
		f.Announce()
		return f
	}
	if _, err := f.Send(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	return f
}

// canceled returns a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// unsent is how many bytes of a session's flows wait to be sent or acknowledged.
func unsent(s *peer.Session) (n int) {
	for _, info := range s.FlowStats() {
		if !info.Incoming {
			n += info.Sender.QueuedBytes + info.Sender.InFlight
		}
	}
	return n
}

// A caller that makes calls and takes no answers cannot make the peer keep any number of them.
func TestAnswersThatNobodyTakes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: time.Millisecond, NoRelay: true})
		near := n.Endpoint(peertest.Public, &peer.Config{MaxMessage: 64 << 10})
		far := n.Endpoint(peertest.Public, &peer.Config{MaxSessionCalls: 16, MaxQueuedCalls: 64})
		far.Handle("x", func(context.Context, *peer.Request) ([]byte, error) { return make([]byte, 60<<10), nil })
		s, back := meet(t, near, far)
		for range 60 {
			for range 20 {
				rawCall(t, s, "x", []byte{})
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got, most := unsent(back), 4<<20; got > most {
			t.Errorf("%d bytes of answers are kept for a peer that takes none, want at most %d", got, most)
		}
		if got := far.Stats().Calls; got > 32 {
			t.Errorf("%d calls are being handled, want at most a peer's share, 32", got)
		}
		other := n.Endpoint(peertest.Public, nil)
		if _, err := other.Call(t.Context(), far.ID(), "x", nil, nil); err != nil {
			t.Errorf("another peer's call: %v", err)
		}
		s.Abort(2000, "")
		time.Sleep(time.Second)
		if got := far.Stats().Calls; got != 0 {
			t.Errorf("%d calls are left of a session that is over", got)
		}
	})
}

// Neither can one whose calls are refused.
func TestRefusalsThatNobodyTakes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, far, s := callPair(t, nil)
		back, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const most = 10_000 // flows that a peer may have open
		for range 25 {
			for range 1000 {
				rawCall(t, s, "x", nil)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if got := back.Stats().Flow; got.OutgoingFlows > most {
			t.Errorf("%d answers are kept for a peer that takes none, want at most %d", got.OutgoingFlows, most)
		}
	})
}

// What waits for a handler is bounded in bytes, too.
func TestQueuedRequestsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: time.Millisecond, NoRelay: true})
		near, far := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, &peer.Config{MaxSessionCalls: 1, MaxQueuedBytes: 4 << 20})
		release := make(chan struct{})
		far.Handle("x", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, nil
		})
		s, _ := meet(t, near, far)
		var wg sync.WaitGroup
		var mu sync.Mutex
		good, refused := 0, 0
		for range 40 {
			wg.Go(func() {
				_, err := s.Call(t.Context(), "x", make([]byte, 256<<10), nil)
				var ce *peer.CallError
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					good++
				case errors.As(err, &ce) && ce.Code == peer.CallUnavailable && !ce.MayHaveRun:
					refused++
				default:
					t.Errorf("a call failed: %v", err)
				}
			})
		}
		time.Sleep(time.Minute)
		close(release)
		wg.Wait()
		if good != 5 || refused != 35 {
			t.Errorf("%d calls of 256 KiB were handled and %d refused; want one that ran and four that waited, which is a peer's share of 4 MiB", good, refused)
		}
		// A single request may be as large as it likes.
		if _, err := s.Call(t.Context(), "x", make([]byte, 2<<20), nil); err != nil {
			t.Errorf("a large call: %v", err)
		}
		if got := far.Stats().Calls; got != 0 {
			t.Errorf("%d calls are left", got)
		}
	})
}

// Peers that begin calls and do not send their requests make room for others.
func TestUnfinishedRequestsMakeRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, &peer.Config{MaxConcurrentCalls: 4, MaxSessionCalls: 4, MaxQueuedCalls: 16})
		far.Handle("x", answer)
		var begun []*flow.Sender
		for range 4 {
			s, _ := meet(t, n.Endpoint(peertest.Public, nil), far)
			for range 8 {
				begun = append(begun, rawCall(t, s, "x", nil))
			}
		}
		time.Sleep(10 * time.Second)
		honest := n.Endpoint(peertest.Public, nil)
		for range 3 {
			if _, err := honest.Call(t.Context(), far.ID(), "x", []byte("x"), nil); err != nil {
				t.Fatalf("a call while others keep all places with requests that do not come: %v", err)
			}
		}
		if got := far.Stats().Calls; got > 20 {
			t.Errorf("%d calls are admitted, want at most 20", got)
		}
		time.Sleep(time.Second)
		told, over := 0, canceled()
		for _, f := range begun {
			if r, err := f.AcceptReturn(over); err == nil && peer.CallCode(r.Metadata()[1]) == peer.CallUnavailable {
				told++
			}
			f.Abort(0)
		}
		if told != len(begun)-19 { // a call of the honest one's needs a place, and so does the next, the same
			t.Errorf("%d of %d callers were told that there is no room, want all but 19", told, len(begun))
		}
		time.Sleep(time.Second)
		if got := far.Stats().Calls; got != 0 {
			t.Errorf("%d calls are left, want 0", got)
		}
	})
}

// Streaming calls last as long as the caller likes: a few peers that open as many as they can leave places for others,
// and are told.
func TestStreamsLeavePlacesForOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, &peer.Config{MaxConcurrentCalls: 64, MaxSessionCalls: 10})
		far.Handle("x", answer)
		far.HandleStream("hold", func(ctx context.Context, st *peer.HandlerStream) error {
			if err := st.Send(ctx, []byte("here")); err != nil {
				return err
			}
			_, err := st.Recv(ctx)
			return err
		})
		// open opens streams of a session until it may have no more.
		open := func(s *peer.Session) (open []*peer.CallStream) {
			for range 32 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				t.Cleanup(cancel)
				st, err := s.CallStream(ctx, "hold", nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err = st.Recv(ctx); err != nil {
					wantCallError(t, err, peer.CallUnavailable, false)
					return open
				}
				open = append(open, st)
			}
			return open
		}
		var held []int
		var last []*peer.CallStream
		for range 8 {
			s, _ := meet(t, n.Endpoint(peertest.Public, nil), far)
			if last = open(s); len(last) == 0 {
				t.Fatalf("a peer may have no stream, while others have %v", held)
			}
			held = append(held, len(last))
		}
		if held[0] != 10 {
			t.Errorf("the first peer may have %d streams, want the 10 of MaxSessionCalls", held[0])
		}
		other := n.Endpoint(peertest.Public, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := other.Call(ctx, far.ID(), "x", []byte("x"), nil); err != nil {
			t.Errorf("a call while others have %v streams: %v", held, err)
		}
		// Places come back.
		_ = last[0].Close()
		time.Sleep(time.Second)
		s, err := other.Dial(ctx, far.ID())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(open(s)); got == 0 {
			t.Errorf("no stream for another peer after one has ended; others have %v", held)
		}
	})
}
