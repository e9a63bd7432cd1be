// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// Two peers dial each other within two round trips. There must be exactly one session, both dials must return it,
// and what either side said before must arrive once.
func TestGlare(t *testing.T) {
	count := 1000
	if testing.Short() {
		count = 50
	}
	for seed := range count {
		bubble(t, func(t *testing.T) { testGlare(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func testGlare(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	oneWay := time.Duration(1+rng.IntN(30)) * time.Millisecond
	jitter := time.Duration(rng.IntN(2)) * oneWay / 4
	n := peertest.New(t, &peertest.Config{OneWay: oneWay, Jitter: jitter, Seed: seed, NoRelay: true})
	ends := [2]*peer.Endpoint{
		n.Endpoint(nats[rng.IntN(3)], nil), n.Endpoint(nats[rng.IntN(3)], nil),
	}
	time.Sleep(time.Second)
	var late [2]time.Duration
	late[rng.IntN(2)] = time.Duration(rng.Int64N(int64(8*oneWay) + 1))
	early := rng.IntN(2) == 0

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var sessions [2]*peer.Session
	var wg sync.WaitGroup
	for i := range ends {
		wg.Go(func() {
			time.Sleep(late[i])
			to := ends[1-i].ID()
			var err error
			if early {
				sessions[i], err = ends[i].DialEarly(peer.Target{ID: to})
			} else {
				sessions[i], err = ends[i].Dial(ctx, to)
			}
			if err != nil {
				t.Errorf("end %d: dial: %v", i, err)
				return
			}
			s := sessions[i]
			f, err := s.OpenFlow("glare", nil)
			if err != nil {
				t.Errorf("end %d: %v", i, err)
				return
			}
			for k := range 3 {
				if _, err := f.Send(ctx, fmt.Appendf(nil, "%d from %d", k, i)); err != nil {
					t.Errorf("end %d: send: %v", i, err)
				}
			}
			in, err := s.AcceptFlow(ctx)
			if err != nil {
				t.Errorf("end %d: accept: %v; %+v", i, err, s.Stats())
				return
			}
			for k := range 3 {
				m, err := in.Recv(ctx)
				if want := fmt.Sprintf("%d from %d", k, 1-i); err != nil || string(m.Data) != want {
					t.Errorf("end %d: received %q, %v; want %q", i, m.Data, err, want)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	time.Sleep(20 * time.Second) // a second session, if there were one, would have shown itself
	for i, s := range sessions {
		if s.Err() != nil {
			t.Errorf("end %d: the session ended: %v", i, s.Err())
		}
		if _, all, _, inbound, routes := ends[i].Sizes(); all != 1 || inbound != 0 || routes > 2 {
			t.Errorf("end %d has %d sessions, %d being established, %d routes; want 1, 0 and at most 2", i, all, inbound, routes)
		}
		done, stop := context.WithCancel(t.Context())
		stop()
		if extra, err := ends[i].Accept(done); err == nil {
			t.Errorf("end %d: Accept returned a session with %v as well", i, extra.Peer())
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("end %d: accept: %v", i, err)
		}
		extra, err := s.AcceptFlow(done)
		if err == nil {
			t.Errorf("end %d: a second flow %q arrived", i, extra.Label())
		}
	}
}
