// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// A mailbag is what one end of a session has sent: messages in every state there is.
type mailbag struct {
	s        *peer.Session
	senders  []*flow.Sender
	receipts []*flow.Receipt
}

// post sends messages that are delivered if the session lives for long enough, some that nobody reads, so that they stay
// in flight or in the queue, and one that has not been looked at by the session's loop.
func post(t *testing.T, s *peer.Session) *mailbag {
	t.Helper()
	b := &mailbag{s: s}
	send := func(label string, n, size int, opts ...flow.SendOption) {
		f, err := s.OpenFlow(label, &flow.Options{SendBuffer: 1 << 24})
		if err != nil {
			t.Fatal(err)
		}
		b.senders = append(b.senders, f)
		for range n {
			r, err := f.TrySend(make([]byte, size), opts...)
			if err != nil {
				t.Fatal(err)
			}
			b.receipts = append(b.receipts, r)
		}
	}
	send("small", 10, 100)
	send("unread", 20, 20_000)
	send("patient", 5, 1000, flow.FinishWithin(time.Hour), flow.After(b.receipts[len(b.receipts)-1]))
	return b
}

// last sends a message whose session may end before anybody has looked at it.
func (b *mailbag) last() {
	if r, err := b.senders[0].TrySend([]byte("last")); err == nil {
		b.receipts = append(b.receipts, r)
	}
}

// check checks that every receipt has come to an outcome, and that why and the session's error are one. It returns how
// many messages were delivered.
func (b *mailbag) check(t *testing.T, want error) (delivered int) {
	t.Helper()
	err := b.s.Err()
	if !errors.Is(err, want) {
		t.Errorf("the session ended with %v, want %v", err, want)
	}
	for i, r := range b.receipts {
		select {
		case <-r.Done():
		default:
			t.Fatalf("receipt %d is %v when the session is over", i, r.Outcome())
		}
		switch e := r.Err(); {
		case r.Outcome() == flow.Delivered && e == nil:
			delivered++
		case r.Outcome() != flow.Abandoned || !errors.Is(e, flow.ErrAbandoned):
			t.Errorf("receipt %d is %v, with the error %v", i, r.Outcome(), e)
		case r.Reason() == flow.ParentAbandoned:
		case r.Reason() != flow.SessionOver || !errors.Is(e, want):
			t.Errorf("receipt %d: %v, %v; want the session's end, because of %v", i, r.Reason(), e, want)
		}
	}
	for i, f := range b.senders {
		if _, e := f.Send(canceled(), nil); !errors.Is(e, want) {
			t.Errorf("flow %d: Send says %v afterwards, want %v", i, e, want)
		}
	}
	return delivered
}

// TestReceiptsWhenASessionEnds: in whatever way a session ends, every receipt at both ends comes to one outcome, and says
// why in the session's own terms.
func TestReceiptsWhenASessionEnds(t *testing.T) {
	type world struct {
		n    *peertest.Network
		far  *peertest.Host
		key  ed25519.PrivateKey // of far
		a, b *peer.Session
	}
	for name, test := range map[string]struct {
		end        func(t *testing.T, w *world)
		near, away error // what the sessions end with; nil: closed in good order or any other way by a CloseError
	}{
		"close, cut short": {func(t *testing.T, w *world) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_ = w.a.Close(ctx)
		}, nil, nil},
		"close by the peer, cut short": {func(_ *testing.T, w *world) { _ = w.b.Close(canceled()) }, nil, nil},
		"abort":                        {func(_ *testing.T, w *world) { w.a.Abort(2000, "enough") }, nil, nil},
		"abort by the peer":            {func(_ *testing.T, w *world) { w.b.Abort(2000, "enough") }, nil, nil},
		"abort by both": {func(_ *testing.T, w *world) {
			w.a.Abort(2000, "enough")
			w.b.Abort(2001, "enough")
		}, nil, nil},
		"endpoint closed":        {func(_ *testing.T, w *world) { _ = w.a.CloseEndpoint(canceled()) }, nil, nil},
		"peer's endpoint closed": {func(_ *testing.T, w *world) { _ = w.b.CloseEndpoint(canceled()) }, nil, nil},
		"protocol violated":      {func(_ *testing.T, w *world) { w.a.SendChunk([]byte{0x70, 0}) }, nil, nil},
		"silence":                {func(_ *testing.T, w *world) { w.far.SetDown(true) }, peer.ErrIdle, peer.ErrIdle},
		"superseded": {func(t *testing.T, w *world) {
			w.far.SetDown(true)
			again := w.n.Host(peertest.Public).Endpoint(&peer.Config{Key: w.key})
			if _, err := again.Dial(t.Context(), w.b.Peer()); err != nil {
				t.Fatal(err)
			}
		}, peer.ErrSuperseded, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
				w := &world{n: n, far: n.Host(peertest.Public)}
				_, w.key, _ = ed25519.GenerateKey(nil)
				w.a, w.b = meet(t, n.Endpoint(peertest.Public, nil), w.far.Endpoint(&peer.Config{Key: w.key}))
				near, away := post(t, w.a), post(t, w.b)
				time.Sleep(200 * time.Millisecond)
				near.last()
				away.last()
				test.end(t, w)
				<-w.a.Done()
				<-w.b.Done()
				synctest.Wait()
				for _, side := range []struct {
					*mailbag
					want error
				}{{near, test.near}, {away, test.away}} {
					want := side.want
					if want == nil {
						want = side.s.Err()
					}
					if got := side.check(t, want); got < 10 || got >= len(side.receipts)-5 {
						t.Errorf("%d of %d messages were delivered; the test wants some, and some not", got, len(side.receipts))
					}
				}
			})
		})
	}
}

// TestReceiptsOfSessionsThatNeverStand: the same for sessions of DialEarly that come to nothing.
func TestReceiptsOfSessionsThatNeverStand(t *testing.T) {
	no := errors.New("no")
	_, key, _ := ed25519.GenerateKey(nil)
	var impostor peer.Config
	impostor.ProveWith(key)
	for name, test := range map[string]struct {
		far  *peer.Config // nil: there is nobody
		down bool         // nothing but the rendezvous reaches it
		end  func(s *peer.Session)
		want error
	}{
		"not found":       {nil, false, nil, peer.ErrNotFound},
		"refused":         {&peer.Config{Authorize: func(context.Context, peer.ID) error { return no }}, false, nil, peer.ErrRefused},
		"unreachable":     {&peer.Config{}, true, nil, peer.ErrUnreachable},
		"impostor":        {&impostor, false, nil, peer.ErrIdentity},
		"closed":          {&peer.Config{}, true, func(s *peer.Session) { _ = s.Close(canceled()) }, nil},
		"aborted":         {&peer.Config{}, true, func(s *peer.Session) { s.Abort(2000, "") }, nil},
		"endpoint closed": {&peer.Config{}, true, func(s *peer.Session) { _ = s.CloseEndpoint(canceled()) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
				alice, h := n.Endpoint(peertest.Public, nil), n.Host(peertest.Public)
				stranger, _ := signaling.GenerateKey()
				id := signaling.IDFromKey(stranger)
				if test.far != nil {
					c := *test.far
					id = h.Endpoint(&c).ID()
					settle(t)
					h.SetDown(test.down)
				}
				s, err := alice.DialEarly(peer.Target{ID: id})
				if err != nil {
					t.Fatal(err)
				}
				bag := post(t, s)
				if test.end != nil {
					time.Sleep(100 * time.Millisecond)
					bag.last()
					test.end(s)
				}
				<-s.Done()
				synctest.Wait()
				want := test.want
				if want == nil {
					want = s.Err()
				}
				if got := bag.check(t, want); got > 0 {
					t.Errorf("%d messages were delivered to nobody", got)
				}
			})
		})
	}
}
