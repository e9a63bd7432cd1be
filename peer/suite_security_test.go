// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Packets that bear the ID of another session of the endpoint, or of none, or none at all, have no effect, are counted,
// and are not answered.
func TestPacketsOfAnotherSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		b := n.Endpoint(peertest.Public, nil)
		a1, b1 := meet(t, n.Endpoint(peertest.Public, nil), b)
		a2, b2 := meet(t, n.Endpoint(peertest.Public, nil), b)
		for _, s := range []*peer.Session{b1, b2} {
			go echoSession(t.Context(), s)
		}
		var mu sync.Mutex
		ids := make(map[uint64]bool) // of the sessions at b, which both have their packets sent to one address
		injected, toUnknown := 0, 0
		to := a1.Stats().Path.Remote
		remove := n.Tap(func(p peertest.Packet) peertest.Verdict {
			if len(p.Payload) < 30 || p.Payload[0] < 192 || p.To != to {
				return peertest.Pass
			}
			mu.Lock()
			defer mu.Unlock()
			id := binary.BigEndian.Uint64(p.Payload[1:])
			ids[id] = true
			for other := range ids {
				if other != id {
					q := p.Clone()
					binary.BigEndian.PutUint64(q.Payload[1:], other)
					n.Inject(q)
					injected++
				}
			}
			q := p.Clone()
			binary.BigEndian.PutUint64(q.Payload[1:], id+uint64(toUnknown)*2+1)
			n.Inject(q)
			toUnknown++
			n.Inject(peertest.Packet{From: p.From, To: p.To, Payload: p.Clone().Payload[:9]})
			return peertest.Pass
		})
		dropped := b.Dropped()
		for i := range 50 {
			for _, s := range []*peer.Session{a1, a2} {
				if err := say(t.Context(), s, fmt.Sprint("message ", i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		remove()
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if injected < 100 || len(ids) != 2 {
			t.Errorf("the attack did not take place: %d packets, %d sessions", injected, len(ids))
		}
		var refused uint64 // before or after a look at the number, which may be one that was used
		for _, s := range []*peer.Session{b1, b2} {
			refused += s.Stats().Forged + s.Stats().Replayed
		}
		if refused < uint64(injected) {
			t.Errorf("%d packets found forged or replayed, want all %d that bear the other session's ID", refused, injected)
		}
		if got := b.Dropped() - dropped; got < uint64(toUnknown) {
			t.Errorf("%d packets dropped, want all %d that bear nobody's ID", got, toUnknown)
		}
		for _, s := range []*peer.Session{a1, a2, b1, b2} {
			if st := s.Stats(); st.PathChanges != 0 || s.Err() != nil {
				t.Errorf("a session has moved or ended: %+v, %v", st.Path, s.Err())
			}
		}
	})
}
