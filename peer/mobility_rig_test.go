// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/traffic"
	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

const (
	moveRTT  = 40 * time.Millisecond // between two hosts; to a relay it is half
	tickTime = 20 * time.Millisecond // of the flows whose gaps are measured
)

// A mobilityRig is a session that carries a flow of 50 messages a second each way and a bulk transfer, while the network
// changes under it.
type mobilityRig struct {
	t     *testing.T
	net   *peertest.Network
	hosts [2]*peertest.Host
	eps   [2]*peer.Endpoint
	ends  [2]*peer.Session
	load  *traffic.Load
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu     sync.Mutex
	events [2][]peer.Event
}

// newMobilityRig establishes a session between hosts of which dialler, 0 or 1, dials, and starts the traffic.
func newMobilityRig(t *testing.T, c *peertest.Config, nats [2]peertest.NAT, dialler int, configs ...*peer.Config) *mobilityRig {
	t.Helper()
	return newMobilityRigAt(t, c, [2]peertest.Site{{NAT: nats[0]}, {NAT: nats[1]}}, dialler, configs...)
}

// newMobilityRigAt is newMobilityRig for sites of any kind.
func newMobilityRigAt(t *testing.T, c *peertest.Config, sites [2]peertest.Site, dialler int, configs ...*peer.Config) *mobilityRig {
	t.Helper()
	if c == nil {
		c = &peertest.Config{}
	}
	c.OneWay = moveRTT / 4
	r := &mobilityRig{t: t, net: peertest.New(t, c)}
	for i, site := range sites {
		r.hosts[i] = r.net.HostAt(site)
		var cfg *peer.Config
		if i < len(configs) {
			cfg = configs[i]
		}
		r.eps[i] = r.hosts[i].Endpoint(cfg)
	}
	time.Sleep(time.Second) // relays are allocated
	a, b := meet(t, r.eps[dialler], r.eps[1-dialler])
	r.ends[dialler], r.ends[1-dialler] = a, b
	time.Sleep(11 * time.Second) // ICE is through
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	for end := range r.ends {
		r.wg.Go(func() { r.watch(ctx, end) })
	}
	bulk := 16 << 10 // each 2·tickTime: 3 Mbit/s
	if testing.Short() {
		bulk = 2 << 10
	}
	r.load = traffic.Start(t, r.ends, []*traffic.Flow{
		{From: 0, Label: "ticks", Size: 100, Every: tickTime},
		{From: 1, Label: "ticks", Size: 100, Every: tickTime},
		{From: dialler, Label: "bulk", Size: bulk, Every: 2 * tickTime},
	})
	time.Sleep(2 * time.Second)
	return r
}

// watch collects the events of an end.
func (r *mobilityRig) watch(ctx context.Context, end int) {
	for {
		ev, err := r.ends[end].NextEvent(ctx)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.events[end] = append(r.events[end], ev)
		r.mu.Unlock()
	}
}

// gap returns the longest time since start in which nothing arrived, on the flow of 50 messages a second from an end.
func (r *mobilityRig) gap(from int, start time.Time) time.Duration {
	return r.load.Gap(from, "ticks", start, time.Now())
}

// worst is the longer of the gaps of both directions.
func (r *mobilityRig) worst(start time.Time) time.Duration {
	return max(r.gap(0, start), r.gap(1, start))
}

// finish ends the traffic and sees to it that every message was delivered once.
func (r *mobilityRig) finish() {
	r.t.Helper()
	r.stop()
	r.load.Check()
	r.load.End()
	r.wg.Wait()
}

// path is how an end sends.
func (r *mobilityRig) path(end int) peer.Path { return r.ends[end].Stats().Path }

// wantKind checks how both ends send.
func (r *mobilityRig) wantKind(k mobility.Kind) {
	r.t.Helper()
	for i := range r.ends {
		if p := r.path(i); p.Kind != k {
			r.t.Errorf("end %d sends by %+v, want %v", i, p, k)
		}
	}
}

// eventsOf returns the events of one type that an end has had.
func eventsOf[E peer.Event](r *mobilityRig, end int) (all []E) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.events[end] {
		if e, ok := ev.(E); ok {
			all = append(all, e)
		}
	}
	return all
}

// eachRole runs a test with the host that moves as dialler and as listener.
func eachRole(t *testing.T, f func(t *testing.T, mover int)) {
	roles := []string{"dialler moves", "listener moves"}
	if testing.Short() {
		roles = roles[:1]
	}
	for mover, name := range roles {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { f(t, mover) })
		})
	}
}

var homes = [2]peertest.NAT{peertest.PortRestricted, peertest.PortRestricted}
