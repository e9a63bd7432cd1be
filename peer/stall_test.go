// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// stalls has both ends of a session send lone messages, bursts and large ones, with pauses, for a time, and reports every
// message that takes longer than most to be acknowledged. In virtual time only a timer that is missing, or a wake-up that
// was lost, takes that long.
func stalls(t *testing.T, ends [2]*peer.Session, runs, most time.Duration, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	until := time.Now().Add(runs)
	var senders sync.WaitGroup
	for i, s := range ends {
		go discard(ctx, s)
		for kind, size := range []int{20, 5000, 60_000} {
			rng := rand.New(rand.NewPCG(seed, uint64(3*i+kind)))
			senders.Go(func() {
				f, err := s.OpenFlow(fmt.Sprint(kind), nil)
				if err != nil {
					t.Error(err)
					return
				}
				for time.Now().Before(until) {
					began := time.Now()
					r, err := f.Send(ctx, make([]byte, rng.IntN(size)))
					if err == nil {
						err = r.Wait(ctx)
					}
					if took := time.Since(began); err != nil || took > most {
						t.Errorf("end %d, up to %d bytes: a message sent after %v took %v, %v; want at most %v\n%+v",
							i, size, runs-until.Sub(began), took, err, most, s.Stats())
						return
					}
					pause := time.Duration(rng.ExpFloat64() * float64(200*time.Millisecond))
					if rng.IntN(20) == 0 {
						pause *= 10
					}
					time.Sleep(pause)
				}
			})
		}
	}
	senders.Wait()
}

// discard receives and forgets all that comes.
func discard(ctx context.Context, s *peer.Session) {
	for {
		r, err := s.AcceptFlow(ctx)
		if err != nil {
			return
		}
		go func() {
			for {
				m, err := r.Recv(ctx)
				if err != nil {
					return
				}
				m.Release()
			}
		}()
	}
}

// TestNothingStalls: whatever the network does, somebody always knows when to try again.
func TestNothingStalls(t *testing.T) {
	for _, test := range []struct {
		name string
		c    peer.Conditions
		most time.Duration
	}{
		{"clean", peer.Conditions{}, time.Second},
		{"loss", peer.Conditions{Loss: 0.05}, 12 * time.Second},
		{"bursts", peer.Conditions{Loss: 0.05, Burst: 4}, 12 * time.Second},
		{"disorder", peer.Conditions{Jitter: 40 * time.Millisecond, JitterReorders: true, Duplicate: 0.1, Reorder: 0.1}, 4 * time.Second},
		{"narrow", peer.Conditions{Bandwidth: 8_000_000, QueueDelay: 20 * time.Millisecond, Loss: 0.01}, 12 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b, c := conditionedPair(t)
				test.c.Seed = 7
				c.Set(test.c)
				stalls(t, [2]*peer.Session{a, b}, 10*time.Second, test.most, 7)
			})
		})
	}
}

// TestNothingStallsAfterOutages: a path that goes and comes back, again and again, is used within seconds.
func TestNothingStallsAfterOutages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := conditionedPair(t)
		stop := make(chan struct{})
		var outages sync.WaitGroup
		outages.Go(func() {
			for i := range 100 {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Second):
				}
				c.Set(peer.Conditions{Loss: 1})
				time.Sleep(time.Duration(i%5+1) * 300 * time.Millisecond)
				c.Set(peer.Conditions{})
			}
		})
		stalls(t, [2]*peer.Session{a, b}, 15*time.Second, 8*time.Second, 11)
		close(stop)
		outages.Wait()
	})
}
