// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"sync"
	"testing"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// TestEndsWithTrainsInFlight ends sessions and endpoints while packets come in as fast as they can. With the race
// detector whoever still reads a buffer that was given back finds rubbish, and one given back twice panics.
func TestEndsWithTrainsInFlight(t *testing.T) {
	for name, end := range map[string]func(a, b *peer.Session){
		"abort":           func(a, _ *peer.Session) { a.Abort(2000, "") },
		"abort both":      func(a, b *peer.Session) { go a.Abort(2000, ""); b.Abort(2001, "") },
		"close":           func(a, _ *peer.Session) { go func() { _ = a.Close(context.Background()) }() },
		"sender vanishes": func(a, _ *peer.Session) { _ = a.CloseEndpoint(canceled()) },
		"receiver closes": func(_, b *peer.Session) { _ = b.CloseEndpoint(canceled()) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := loopbackPair(t)
			var wg sync.WaitGroup
			started := make(chan struct{}, 1)
			for _, s := range []*peer.Session{a, b} {
				wg.Go(func() {
					f, err := s.OpenFlow("bulk", nil)
					for err == nil {
						_, err = f.Send(t.Context(), make([]byte, 60_000))
					}
				})
				wg.Go(func() {
					r, err := s.AcceptFlow(t.Context())
					for n := 0; err == nil; n++ {
						if _, err = r.Recv(t.Context()); n == 50 {
							select {
							case started <- struct{}{}:
							default:
							}
						}
					}
				})
			}
			<-started
			end(a, b)
			for _, s := range []*peer.Session{a, b} {
				_ = s.CloseEndpoint(canceled())
			}
			wg.Wait()
			for _, s := range []*peer.Session{a, b} {
				if n := s.Queued(); n != 0 {
					t.Errorf("%d bytes count as queued after all is over", n)
				}
			}
		})
	}
}
