// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
	"github.com/seed-98f0d4c2/runnel/internal/seal"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
	"github.com/seed-98f0d4c2/runnel/signaling"
)

// keys returns two identities, the first of which is the smaller.
func keys() (small, large ed25519.PrivateKey) {
	_, small, _ = ed25519.GenerateKey(nil)
	_, large, _ = ed25519.GenerateKey(nil)
	if signaling.IDFromKey(small).Compare(signaling.IDFromKey(large)) > 0 {
		small, large = large, small
	}
	return small, large
}

// A session whose sending key is used up when it wants to say CLOSE must end, not panic. (A peer that never follows a
// key update and then breaks the protocol at the right packet can bring this about.)
func TestCloseWithExhaustedKeys(t *testing.T) {
	if !seal.PreferAES() {
		t.Skip("ChaCha20-Poly1305 is not exhausted in a lifetime")
	}
	bubble(t, func(t *testing.T) {
		a, _ := pair(t)
		if p := a.AbortExhausted(); p != nil {
			t.Errorf("the loop panicked: %v", p)
		}
		<-a.Done()
	})
}

// Both dial; one of them gives up. The other still wants the session and its dial must succeed.
func TestGlareCancelledByOneSide(t *testing.T) {
	for _, smallGivesUp := range []bool{false, true} {
		t.Run(fmt.Sprintf("smaller gives up=%v", smallGivesUp), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, NoRelay: true})
				small, large := keys()
				quits, stays := n.Endpoint(peertest.Public, &peer.Config{Key: large}), n.Endpoint(peertest.Public, &peer.Config{Key: small})
				if smallGivesUp {
					quits, stays = stays, quits
				}
				go func() {
					ctx, cancel := context.WithTimeout(t.Context(), 90*time.Millisecond)
					defer cancel()
					_, _ = quits.Dial(ctx, stays.ID())
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				s, err := stays.Dial(ctx, quits.ID())
				if err != nil {
					t.Fatalf("dial: %v", err)
				}
				if far, err := quits.Accept(ctx); err != nil || far.Peer() != stays.ID() {
					t.Errorf("accept: %v, %v", far, err)
				}
				if s.Err() != nil {
					t.Errorf("the session ended: %v", s.Err())
				}
			})
		})
	}
}

// A peer has restarted and is establishing a session in place of the old one. Meanwhile the old one is given up here
// and the peer is dialled. The dial returns the session that comes to be.
func TestDialWhileSuccessorIsEstablished(t *testing.T) {
	for _, smallRestarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("smaller restarts=%v", smallRestarts), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, NoRelay: true})
				stay, restart := keys()
				if smallRestarts {
					stay, restart = restart, stay
				}
				alice := n.Endpoint(peertest.Public, &peer.Config{Key: stay})
				h := n.Host(peertest.Public)
				_, old := meet(t, h.Endpoint(&peer.Config{Key: restart}), alice)
				h.SetDown(true)
				again := n.Host(peertest.Public).Endpoint(&peer.Config{Key: restart})
				time.Sleep(time.Second)
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() {
					if _, err := again.Dial(t.Context(), alice.ID()); err != nil {
						t.Errorf("the restarted peer's dial: %v", err)
					}
				})
				time.Sleep(60 * time.Millisecond) // its offer is here
				old.Abort(2000, "it is dead")
				<-old.Done()
				s, err := alice.Dial(t.Context(), again.ID())
				if err != nil {
					t.Fatalf("dial: %v", err)
				}
				time.Sleep(20 * time.Second)
				if s.Err() != nil {
					t.Errorf("the session ended: %v", s.Err())
				}
			})
		})
	}
}

// After Abort has returned the session is of no use; the next dial must not return it.
func TestDialAfterAbort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		a, _ := meet(t, alice, bob)
		a.Abort(2000, "enough")
		s, err := alice.Dial(t.Context(), bob.ID())
		if err != nil {
			t.Fatal(err)
		}
		if s == a {
			t.Error("Dial returned the session that had just been aborted")
		}
	})
}

// Ready returns why the session ended if it did.
func TestReadyOfEndedSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := pair(t)
		a.Abort(2000, "enough")
		<-a.Done()
		if err := a.Ready(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ready: %v, want why the session ended", err)
		}
	})
}

// A message that waits for the session to be established is given up when its deadline has come.
func TestDeadlineBeforeTheSessionStands(t *testing.T) {
	const deadline = 10 * time.Millisecond // long before it turns out that nobody is there
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, NoRelay: true})
		alice := n.Endpoint(peertest.Public, nil)
		stranger, err := signaling.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		s, err := alice.DialEarly(peer.Target{ID: signaling.IDFromKey(stranger)})
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.OpenFlow("note", nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		start := time.Now()
		r, err := f.Send(t.Context(), []byte("hello"), flow.FinishWithin(deadline))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(t.Context()); r.Reason() != flow.FinishDeadline {
			t.Errorf("%v, want it to be given up at its deadline", err)
		}
		if got, want := time.Since(start), deadline; got != want {
			t.Errorf("given up after %v, want %v", got, want)
		}
	})
}

// Close promises to wait until every queued message has been delivered, on a session of DialEarly too.
func TestCloseOfEarlySessionDelivers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 20 * time.Millisecond, NoRelay: true})
		alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
		got := make(chan string, 1)
		go func() {
			defer close(got)
			s, err := bob.Accept(t.Context())
			if err != nil {
				return
			}
			f, err := s.AcceptFlow(t.Context())
			if err != nil {
				return
			}
			if m, err := f.Recv(t.Context()); err == nil {
				got <- string(m.Data)
			}
		}()
		s, err := alice.DialEarly(peer.Target{ID: bob.ID()})
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.OpenFlow("note", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Send(t.Context(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		bctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		select {
		case m := <-got:
			if m != "hello" {
				t.Errorf("received %q, want the message that was queued before Close", m)
			}
		case <-bctx.Done():
			t.Error("the message that was queued before Close never arrived")
		}
	})
}

// Linger ends a session whose peer is silent although it was asked. A peer that is there answers.
func TestShortLinger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
		a, b := meet(t, n.Endpoint(peertest.Public, &peer.Config{Linger: 8 * time.Second}), n.Endpoint(peertest.Public, nil))
		time.Sleep(time.Minute)
		if a.Err() != nil || b.Err() != nil {
			t.Errorf("a healthy session ended: %v, %v", a.Err(), b.Err())
		}
	})
}

// A dial that is cancelled at once, and repeated at once, is as good as the first.
func TestRedialInTheSameMillisecond(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T) {
			n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
			alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
			done, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := alice.Dial(done, bob.ID()); !errors.Is(err, context.Canceled) {
				t.Errorf("dial: %v", err)
			}
			start := time.Now()
			if _, err := alice.Dial(t.Context(), bob.ID()); err != nil {
				t.Errorf("the second dial: %v after %v", err, time.Since(start))
			}
		})
		if t.Failed() {
			return
		}
	}
}

// A cancelled dial leaves nothing at the listener: the bye does not overtake the offer.
func TestByeOvertakesOffer(t *testing.T) {
	left := 0
	for range 20 {
		bubble(t, func(t *testing.T) {
			n := peertest.New(t, &peertest.Config{OneWay: 5 * time.Millisecond, NoRelay: true})
			alice, bob := n.Endpoint(peertest.Public, nil), n.Endpoint(peertest.Public, nil)
			done, cancel := context.WithCancel(t.Context())
			cancel()
			_, _ = alice.Dial(done, bob.ID())
			time.Sleep(time.Second)
			if _, sessions, _, _, _ := bob.Sizes(); sessions > 0 {
				left++
			}
		})
	}
	if left > 0 {
		t.Errorf("in %d of 20 tries the listener went on establishing a session that had been called off a second ago", left)
	}
}

// A busyNetwork has no free port for IPv4.
type busyNetwork struct{ sinkNetwork }

func (n *busyNetwork) ListenPacket(_ context.Context, network string, addr netip.AddrPort) (net.PacketConn, error) {
	if network == "udp4" {
		return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EADDRINUSE}
	}
	n.init()
	return (*sinkConn)(&n.sinkNetwork), nil
}

// Only a network that lacks an address family may be served without it (see Network.ListenPacket).
func TestListenPortInUse(t *testing.T) {
	e, err := peer.Listen(t.Context(), &peer.Config{Network: &busyNetwork{}, ListenAddr: netip.AddrPortFrom(netip.Addr{}, 4000)})
	if err == nil {
		_ = e.Close(t.Context())
		t.Error("Listen succeeded although the IPv4 port is in use")
	}
}

// Endpoints are closed at any moment, several times, while peers dial, sessions are superseded and Authorize blocks.
// Nothing hangs, panics or is left behind: the bubble sees to that.
func TestCloseAtAnyMoment(t *testing.T) {
	count := 60
	if testing.Short() {
		count = 10
	}
	for seed := range count {
		bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 5))
			n := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, Seed: uint64(seed), NoRelay: rng.IntN(2) == 0})
			var c peer.Config
			if rng.IntN(2) == 0 {
				c.Authorize = func(ctx context.Context, _ peer.ID) error {
					select {
					case <-time.After(50 * time.Millisecond):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			ends := []*peer.Endpoint{n.Endpoint(peertest.Public, &c), n.Endpoint(peertest.PortRestricted, &c), n.Endpoint(peertest.Public, nil)}
			var wg sync.WaitGroup
			for i, from := range ends {
				for j, to := range ends {
					if i == j || rng.IntN(4) == 0 {
						continue
					}
					after, patience := time.Duration(rng.IntN(150))*time.Millisecond, time.Duration(rng.IntN(1000))*time.Millisecond
					wg.Go(func() {
						time.Sleep(after)
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						s, err := from.Dial(ctx, to.ID())
						if err != nil {
							return
						}
						if f, err := s.OpenFlow("x", nil); err == nil {
							_, _ = f.TrySend(make([]byte, 5000))
						}
						_ = s.Stats()
						if patience%2 == 0 {
							_ = s.Close(ctx)
						}
						_, _ = s.NextEvent(ctx)
					})
				}
				for range 2 {
					after, patience := time.Duration(rng.IntN(400))*time.Millisecond, time.Duration(rng.IntN(300))*time.Millisecond
					wg.Go(func() {
						time.Sleep(after)
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						if err := from.Close(ctx); err != nil {
							t.Errorf("close: %v", err)
						}
						if _, err := from.Dial(t.Context(), ends[(i+1)%3].ID()); !errors.Is(err, net.ErrClosed) {
							t.Errorf("dial after close: %v", err)
						}
						if peers, sessions, attempts, inbound, routes := from.Sizes(); peers+sessions+attempts+inbound+routes != 0 {
							t.Errorf("left behind: %d peers, %d sessions, %d attempts, %d inbound, %d routes", peers, sessions, attempts, inbound, routes)
						}
					})
				}
			}
			wg.Wait()
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
