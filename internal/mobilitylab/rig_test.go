// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/traffic"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

const (
	ms     = time.Millisecond
	rtt    = 40 * ms // between two hosts; to the rendezvous or a relay it is half
	oneWay = rtt / 4
)

// A setup is what a rig is made of.
type setup struct {
	net    peertest.Config
	sites  [2]peertest.Site // of the mover and of the other
	cfg    *peer.Config     // of both
	still  bool             // no traffic until it is asked for
	settle time.Duration    // from the session to the traffic, if not 11 s, in which ICE is through
	loss   float64          // of each packet on its whole way; negative: by the seed, up to 1 %
	before func(r *rig)     // the session is dialled
	light  bool             // a tenth of the traffic
}

// A rig is a session that carries 50 messages a second each way, and a bulk transfer each way, while its network changes.
type rig struct {
	t     *testing.T
	seed  uint64
	rand  *rand.Rand
	net   *peertest.Network
	hosts [2]*peertest.Host // the mover and the other
	eps   [2]*peer.Endpoint
	ends  [2]*peer.Session
	light bool
	load  *traffic.Load
	wg    sync.WaitGroup // what tests start beside
}

// run makes a rig in a bubble of its own, in a subtest, and hands it to f. role is 0 if the mover dials and 1 if it listens.
// It reports whether all is well.
func run(t *testing.T, s setup, role int, seed uint64, f func(r *rig)) bool {
	t.Helper()
	return t.Run(fmt.Sprintf("seed=%d,%s", seed, roles[role]), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(newRig(t, s, role, seed)) })
	})
}

var roles = [2]string{"the dialler moves", "the listener moves"}

func newRig(t *testing.T, s setup, role int, seed uint64) *rig {
	t.Helper()
	r := &rig{t: t, seed: seed, light: s.light, rand: rand.New(rand.NewPCG(seed, uint64(role)))}
	c := s.net
	c.OneWay, c.Seed = oneWay, seed
	switch { // half of the seeds are of a perfect network
	case s.loss > 0:
		c.Loss = s.loss / 2
	case s.loss < 0 && seed%2 == 1:
		c.Loss = r.rand.Float64() * 0.01 / 2
		c.Jitter = time.Duration(r.rand.Int64N(int64(2 * ms)))
	}
	r.net = peertest.New(t, &c)
	for i, site := range s.sites {
		r.hosts[i] = r.net.HostAt(site)
		r.eps[i] = r.hosts[i].Endpoint(s.cfg)
	}
	time.Sleep(2 * time.Second) // relays are allocated
	if s.before != nil {
		s.before(r)
	}
	var err error
	if r.ends[role], err = r.eps[role].Dial(t.Context(), r.eps[1-role].ID()); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if r.ends[1-role], err = r.eps[1-role].Accept(t.Context()); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if s.settle == 0 {
		s.settle = 11 * time.Second
	}
	time.Sleep(s.settle)
	if !s.still {
		r.start()
		time.Sleep(time.Second)
		r.phase()
	}
	return r
}

// phase waits for a moment that has nothing to do with that of the traffic.
func (r *rig) phase() { time.Sleep(time.Duration(r.rand.Int64N(int64(200 * ms)))) }

// path is how an end sends.
func (r *rig) path(end int) peer.Path { return r.ends[end].Stats().Path }

// wantKind checks how both ends send.
func (r *rig) wantKind(when string, k mobility.Kind) {
	r.t.Helper()
	for i := range r.ends {
		if p := r.path(i); p.Kind != k {
			r.t.Errorf("%s, end %d sends by %+v, want %v", when, i, p, k)
		}
	}
}

// relayInUse is the relay by which the session goes, its own or the peer's.
func (r *rig) relayInUse() int {
	for i := range r.ends {
		p := r.path(i)
		for n := range 2 {
			if a := r.net.RelayAddr(n).Addr(); p.Local.Addr() == a || p.Remote.Addr() == a {
				return n
			}
		}
	}
	r.t.Error("no relay in use")
	return 0
}
