// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Callers that make more calls than may be open, of every kind, and vanish, leave nothing behind at the other end: no
// call, no handler, no flow, no memory, and places for others.
func TestCallersVanish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: time.Millisecond, NoRelay: true})
		far := n.Endpoint(peertest.Public, nil)
		far.Handle("w", func(ctx context.Context, _ *peer.Request) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		far.Handle("l", func(context.Context, *peer.Request) ([]byte, error) { return make([]byte, 10_000), nil })
		far.HandleStream("s", func(ctx context.Context, st *peer.HandlerStream) error {
			_, err := st.Recv(ctx)
			return err
		})
		goroutines := 0
		storm := func() {
			const calls = 12_000
			host := n.Host(peertest.Public)
			near := host.Endpoint(nil)
			s, back := meet(t, near, far)
			ctx, forget := context.WithCancel(t.Context())
			defer forget()
			for i := range calls {
				switch i % 4 {
				case 0:
					rawCall(t, s, "l", []byte("x")) // and takes no answer
				case 1:
					if _, err := s.CallStream(ctx, "s", nil); err != nil {
						t.Fatal(err)
					}
				case 2:
					rawCall(t, s, "w", nil) // and sends no request
				default:
					rawCall(t, s, "w", make([]byte, 100))
				}
			}
			time.Sleep(5 * time.Second)
			if got, most := far.Stats().Calls, 256+1024; got > most {
				t.Errorf("%d calls are admitted, want at most a peer's share, %d", got, most)
			}
			if got, most := runtime.NumGoroutine(), 200+3*(256+1024); got > most {
				t.Errorf("%d goroutines while the caller is there, want at most %d: three for each call admitted", got, most)
			}
			host.SetDown(true)
			time.Sleep(2 * time.Minute)
			if back.Err() == nil || s.Err() == nil {
				t.Fatal("the session lives on without a network")
			}
			if got := far.Stats(); got.Calls != 0 || got.Sessions != 0 {
				t.Errorf("%d calls and %d sessions are left, want none", got.Calls, got.Sessions)
			}
			if err := near.Close(t.Context()); err != nil { // the heap holds its share, too
				t.Error(err)
			}
			synctest.Wait()
			goroutines = runtime.NumGoroutine()
		}
		storm()
		afterOne, before := goroutines, heap()
		storm()
		storm()
		if goroutines > afterOne+2*hostGoroutines {
			t.Errorf("%d goroutines, %d after the first caller", goroutines, afterOne)
		}
		if grown := int64(heap()) - int64(before); grown > 1<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		other := n.Endpoint(peertest.Public, nil)
		if _, err := other.Call(t.Context(), far.ID(), "l", nil, nil); err != nil {
			t.Errorf("another peer's call: %v", err)
		}
	})
}

// hostGoroutines is how many goroutines a host of the virtual network may have of its own.
const hostGoroutines = 2
