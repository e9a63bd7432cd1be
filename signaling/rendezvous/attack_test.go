// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
	"github.com/seed-98f0d4c2/runnel/signaling/rendezvous"
)

// Clients that read, answer pings and never confirm must not hold the memory that is for all for ever: some thousand
// sessions, of eleven addresses, would make the server busy for everybody.
func TestUnconfirmedHoldsTheBuffer(t *testing.T) {
	var limits rendezvous.Limits
	limits.BufferedBytes = 10_000
	inLab(t, &rendezvous.Config{Limits: limits}, func(t *testing.T, l *lab) {
		a, b := l.join(nil, nil), l.join(nil, nil)
		for range 3 {
			r := l.raw()
			r.register()
			go func() { // takes everything, confirms nothing
				for {
					_, m, err := r.ws.Read(context.Background())
					if err != nil {
						return
					}
					if f, err := rvproto.ParseServer(m); err == nil && f.Type == rvproto.TypePing {
						pong, _ := rvproto.Encode(&rvproto.Frame{Type: rvproto.TypePong, ID: f.ID})
						if r.ws.Write(context.Background(), websocket.MessageText, pong) != nil {
							return
						}
					}
				}
			}()
			if err := a.Send(t.Context(), r.id(), make([]byte, 3000)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if err := a.Send(t.Context(), b.ID(), make([]byte, 3000)); err != nil {
			t.Errorf("an hour later: %v (%d bytes held), want the envelope to go through", err, l.srv.Stats().BufferedBytes)
		}
	})
}

// An envelope that was accepted and is lost when its receiver registers anew must at least be counted; it need not be lost.
func TestReplacedSessionLosesEnvelopes(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		a := l.join(nil, nil)
		old := l.raw()
		old.register() // and then its machine loses power: it neither confirms nor closes
		if err := a.Send(t.Context(), old.id(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := l.enter(old.key, nil) // the machine is back before the server has missed it
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := b.Recv(ctx)
		if s := l.srv.Stats(); err != nil && s.Dropped == 0 {
			t.Errorf("an envelope answered with ok was not delivered (%v) and not counted: dropped %d, delivered %d",
				err, s.Dropped, s.Delivered)
		}
	})
}

// A client whose handshake was refused cannot hold up a shutdown beyond its context.
func TestShutdownIsBoundedForRefused(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw()
		r.write(&rvproto.Frame{Type: rvproto.TypeVerify}) // no hello
		r.want("refusal", rvproto.TypeError)              // and reads no more
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_ = l.srv.Shutdown(ctx)
		if d := time.Since(start); d > time.Second {
			t.Errorf("Shutdown took %v, want the second it was given at most", d)
		}
	})
}
