// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

func behind(n peertest.NAT, change func(*peertest.NATConfig)) func(uint64) peertest.NATConfig {
	return func(seed uint64) peertest.NATConfig {
		c := n.Config()
		c.Seed = seed
		if change != nil {
			change(&c)
		}
		return c
	}
}

// TestHardNATs says how often, and how soon after it is established, a session between two hard NATs is direct.
func TestHardNATs(t *testing.T) {
	restricted := behind(peertest.PortRestricted, nil)
	sequential := behind(peertest.Symmetric, nil)
	byTwo := behind(peertest.Symmetric, func(c *peertest.NATConfig) { c.Step = 2 })
	busy := behind(peertest.Symmetric, func(c *peertest.NATConfig) { c.Background = 20 })
	random := behind(peertest.SymmetricRandom, nil)
	few := behind(peertest.SymmetricRandom, func(c *peertest.NATConfig) { c.MaxMappings = 64 })
	for _, tt := range []struct {
		name   string
		a, b   func(uint64) peertest.NATConfig
		within time.Duration
		p50    time.Duration
		share  float64
		say    string
	}{
		{"restricted × sequential", restricted, sequential, 2 * time.Second, time.Second, .95, "port prediction met"},
		{"restricted × sequential by 2", restricted, byTwo, 2 * time.Second, time.Second, .95, "port prediction met"},
		{"restricted × busy sequential", restricted, busy, 2 * time.Second, time.Second, .95, "port prediction met"},
		{"restricted × random", restricted, random, 6 * time.Second, 3 * time.Second, .9, "birthday search met"},
		{"sequential × sequential", sequential, sequential, 5 * time.Second, 3 * time.Second, .8, "two-sided port prediction met"},
		{"busy × busy by 2", busy, byTwo, 5 * time.Second, 3 * time.Second, .8, "two-sided port prediction met"},
		{"random × random", random, random, 8 * time.Second, 0, 0, "one of them at random"},
		{"restricted × few random", restricted, few, 8 * time.Second, 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := seeds(t)
			var took []time.Duration
			for seed := range n {
				dialler, listener := tt.a(uint64(seed)), tt.b(uint64(seed)+1000)
				if seed%2 == 1 {
					dialler, listener = listener, dialler
				}
				synctest.Test(t, func(t *testing.T) {
					d, report, ok := punchPair(t, dialler, listener, uint64(seed), tt.within)
					if ok {
						took = append(took, d)
					}
					if (ok || tt.share == 0) && !strings.Contains(report, tt.say) {
						t.Errorf("report is %q, want something with %q", report, tt.say)
					}
				})
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			slices.Sort(took)
			p50 := tt.within
			if len(took) > n/2 {
				p50 = took[n/2]
			}
			t.Logf("direct within %v: %d of %d, p50 %v", tt.within, len(took), n, p50)
			if float64(len(took)) < tt.share*float64(n)-1 || tt.p50 > 0 && p50 > tt.p50 {
				t.Errorf("direct within %v: %d of %d, p50 %v; want %.0f %%, p50 %v", tt.within, len(took), n, p50, 100*tt.share, tt.p50)
			}
			if tt.share == 0 && tt.say != "" && len(took) > 0 {
				t.Errorf("%d of %d are direct, which cannot be", len(took), n)
			}
		})
	}
}

// punchPair establishes a session, sends on it every 20 ms, and returns when it was direct and what it says of that. Messages
// must not be held up.
func punchPair(t *testing.T, a, b peertest.NATConfig, seed uint64, within time.Duration) (took time.Duration, report string, ok bool) {
	net := peertest.New(t, &peertest.Config{OneWay: 10 * time.Millisecond, Seed: seed})
	alice := net.HostAt(peertest.Site{NATConfig: &a}).Endpoint(nil)
	bob := net.HostAt(peertest.Site{NATConfig: &b}).Endpoint(nil)
	settle(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	received := make(chan time.Duration, 4096)
	go func() {
		far, err := bob.Accept(ctx)
		if err != nil {
			return
		}
		in, err := far.AcceptFlow(ctx)
		if err != nil {
			return
		}
		last := time.Now()
		for _, err := range in.Messages(ctx) {
			if err != nil {
				return
			}
			received <- time.Since(last)
			last = time.Now()
		}
	}()
	s, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.OpenFlow("ticks", nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	sent := 0
	for time.Since(began) < within {
		if _, err := out.Send(ctx, []byte("tick")); err != nil {
			t.Fatal(err)
		}
		sent++
		time.Sleep(20 * time.Millisecond)
		if !ok && s.Stats().Path.Kind == mobility.Direct {
			took, ok = time.Since(began), true
		}
		if ok && time.Since(began) > took+time.Second {
			break
		}
	}
	time.Sleep(time.Second)
	if n := len(received); n != sent {
		t.Errorf("%d of %d messages have arrived", n, sent)
	}
	for range len(received) {
		if gap := <-received; gap > 150*time.Millisecond {
			t.Errorf("nothing arrived for %v", gap)
		}
	}
	report = s.PunchReport()
	for _, e := range []*peer.Endpoint{alice, bob} {
		if n := e.ExtraSockets(); ok && n > 8 {
			t.Errorf("%d extra sockets are open though the session is direct", n)
		}
	}
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	time.Sleep(5 * time.Second)
	for _, e := range []*peer.Endpoint{alice, bob} {
		if n := e.ExtraSockets(); n > 0 {
			t.Errorf("%d extra sockets are left when the session is over", n)
		}
	}
	return took, report, ok
}

// However many sessions open sockets to get through hard NATs, those of an endpoint are bounded.
func TestExtraSocketsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := peertest.New(t, &peertest.Config{NoRelay: true})
		e := n.Endpoint(peertest.Public, nil)
		if opened, left := e.OpenExtras(1100); opened != 1024 || left != 0 {
			t.Errorf("%d sockets of 1100 opened, %d left; want 1024 and none", opened, left)
		}
		if opened, _ := e.OpenExtras(10); opened != 10 {
			t.Errorf("%d sockets of 10 opened after all were closed", opened)
		}
	})
}
