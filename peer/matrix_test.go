// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// seeds is how many seeds each pair of NATs is tried with.
func seeds(t *testing.T) int {
	t.Helper()
	if testing.Short() {
		return 3
	}
	return 50
}

var nats = []peertest.NAT{
	peertest.Public, peertest.FullCone, peertest.AddressRestricted, peertest.PortRestricted, peertest.Symmetric,
}

func TestNATMatrix(t *testing.T) {
	for _, loss := range []float64{0, 0.1} {
		for i, a := range nats {
			for _, b := range nats[i:] {
				t.Run(fmt.Sprintf("loss=%v/%v/%v", loss, a, b), func(t *testing.T) {
					for seed := range seeds(t) {
						// Either side dials: the role must not matter.
						dialler, listener := a, b
						if seed%2 == 1 {
							dialler, listener = b, a
						}
						synctest.Test(t, func(t *testing.T) {
							testPair(t, dialler, listener, uint64(seed), loss)
						})
						if t.Failed() {
							t.Fatalf("seed %d: %v dials %v", seed, dialler, listener)
						}
					}
				})
			}
		}
	}
}

// testPair lets two endpoints meet, say something both ways, and settle on a direct path.
func testPair(t *testing.T, a, b peertest.NAT, seed uint64, loss float64) {
	net := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, Loss: loss / 2, Seed: seed})
	alice, bob := net.Endpoint(a, nil), net.Endpoint(b, nil)
	settle(t)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var far *peer.Session
	go func() {
		if far, _ = bob.Accept(ctx); far != nil {
			echoSession(ctx, far)
		}
	}()
	s, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := say(ctx, s, "hello"); err != nil {
		t.Fatalf("%v\n%+v\n%+v", err, s.Stats(), far.Stats())
	}
	waitForDirect(ctx, t, s)
	if err := say(ctx, s, "again"); err != nil {
		t.Fatalf("%v\n%+v\n%+v", err, s.Stats(), far.Stats())
	}
}

// settle lets endpoints learn their addresses and allocate their relays, as they have when a user comes to dial.
func settle(t *testing.T) {
	t.Helper()
	time.Sleep(2 * time.Second) // virtual
	synctest.Wait()
}

// waitForDirect waits until s uses a direct path.
func waitForDirect(ctx context.Context, t *testing.T, s *peer.Session) {
	t.Helper()
	grace, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	for s.Stats().Path.Kind != mobility.Direct {
		ev, err := s.NextEvent(grace)
		if err != nil {
			t.Fatalf("path is %v, want a direct one: %v; %s; timeline %v", s.Stats().Path, err, s.PunchReport(), s.Stats().Timeline)
		}
		if c, ok := ev.(peer.Closed); ok {
			t.Fatalf("session closed: %v", c.Err)
		}
	}
}

// echo accepts sessions and sends back every message of every flow, until ctx ends.
func echo(ctx context.Context, e *peer.Endpoint) {
	for {
		s, err := e.Accept(ctx)
		if err != nil {
			return
		}
		go echoSession(ctx, s)
	}
}

func echoSession(ctx context.Context, s *peer.Session) {
	for {
		in, err := s.AcceptFlow(ctx)
		if err != nil {
			return
		}
		go func() {
			out, err := s.OpenFlow("echo", nil)
			if err != nil {
				return
			}
			for m, err := range in.Messages(ctx) {
				if err != nil {
					return
				}
				if _, err := out.Send(ctx, m.Data); err != nil {
					return
				}
			}
		}()
	}
}

// say sends a message on a flow of its own and waits for its echo.
func say(ctx context.Context, s *peer.Session, msg string) error {
	out, err := s.OpenFlow("say", nil)
	if err != nil {
		return err
	}
	if _, err := out.Send(ctx, []byte(msg)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	in, err := s.AcceptFlow(ctx)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	m, err := in.Recv(ctx)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if string(m.Data) != msg {
		return fmt.Errorf("echo is %q, want %q", m.Data, msg)
	}
	return nil
}
