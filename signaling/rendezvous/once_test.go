// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-98f0d4c2/runnel/signaling"
	"github.com/seed-98f0d4c2/runnel/signaling/internal/rvproto"
)

// The same send on the connection that is superseded and on the one that resumes is carried out once.
func TestSendOnceOverTwoConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(nil)
		if err != nil {
			t.Fatal(err)
		}
		peer := func() signaling.PeerID {
			k, err := signaling.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			return signaling.IDFromKey(k)
		}
		attach := func(id signaling.PeerID, token []byte) *conn {
			c := newConn(s, netip.Addr{}, "x")
			c.id = id
			if c.sess, _, err = s.register(c, id, token, 0); err != nil {
				t.Fatal(err)
			}
			return c
		}
		sender, target := peer(), peer()
		to := attach(target, nil)
		first := attach(sender, nil)
		second := attach(sender, first.sess.token[:])
		if first.sess != second.sess {
			t.Fatal("not resumed")
		}
		f := &rvproto.Frame{Type: rvproto.TypeSend, Seq: 1, To: target.String(), Payload: []byte("x")}
		s.mu.Lock() // the server is busy; both readers get as far as looking for the peer
		var wg sync.WaitGroup
		for _, c := range []*conn{first, second} {
			wg.Go(func() { c.once(f) })
		}
		for range 1000 { // a mutex does not block durably, so there is no waiting for it
			pause := make(chan struct{})
			go close(pause)
			<-pause
		}
		s.mu.Unlock()
		wg.Wait()
		if n := len(to.sess.outbox); n != 1 {
			t.Errorf("%d envelopes for one send, want 1: nothing happens twice", n)
		}
	})
}
