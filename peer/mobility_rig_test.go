// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/flow"
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
	flows []*rigFlow
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu     sync.Mutex
	events [2][]peer.Event
}

// A rigFlow is one flow, as its receiver sees it.
type rigFlow struct {
	from  int // which end sends
	label string

	mu       sync.Mutex
	sent     uint64
	receipts []*flow.Receipt // of what is not known to be delivered
	at       []time.Time     // when each message was received
	broken   string          // what should not have been
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
	r.flows = []*rigFlow{{from: 0, label: "ticks"}, {from: 1, label: "ticks"}, {from: dialler, label: "bulk"}}
	for end := range r.ends {
		r.wg.Go(func() { r.watch(ctx, end) })
		r.wg.Go(func() { r.accept(end) })
	}
	for _, f := range r.flows {
		size, every := 100, tickTime
		if f.label == "bulk" {
			size, every = 16<<10, 2*tickTime // 3 Mbit/s
			if testing.Short() {
				size = 2 << 10
			}
		}
		r.wg.Go(func() { r.send(ctx, f, size, every) })
	}
	time.Sleep(2 * time.Second)
	return r
}

// send sends messages of a flow until ctx ends.
func (r *mobilityRig) send(ctx context.Context, f *rigFlow, size int, every time.Duration) {
	out, err := r.ends[f.from].OpenFlow(f.label, nil)
	if err != nil {
		f.fail("open: %v", err)
		return
	}
	for ctx.Err() == nil {
		b := make([]byte, size)
		binary.BigEndian.PutUint64(b, f.sent)
		receipt, err := out.Send(r.t.Context(), b)
		if err != nil {
			f.fail("message %d not sent: %v", f.sent, err)
			return
		}
		f.mu.Lock()
		f.sent++
		f.receipts = append(f.receipts, receipt)
		f.mu.Unlock()
		time.Sleep(every)
	}
	if err := out.Close(r.t.Context()); err != nil {
		f.fail("close: %v", err)
	}
}

func (f *rigFlow) fail(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == "" {
		f.broken = fmt.Sprintf(format, args...)
	}
}

// accept takes the flows that come to an end.
func (r *mobilityRig) accept(end int) {
	for {
		in, err := r.ends[end].AcceptFlow(r.t.Context())
		if err != nil {
			return
		}
		for _, f := range r.flows {
			if f.from != end && f.label == in.Label() {
				r.wg.Go(func() { f.receive(r.t.Context(), in) })
			}
		}
	}
}

func (f *rigFlow) receive(ctx context.Context, in *flow.Receiver) {
	for m, err := range in.Messages(ctx) {
		if err != nil {
			f.fail("receive: %v", err)
			return
		}
		f.mu.Lock()
		n := binary.BigEndian.Uint64(m.Data)
		want := uint64(len(f.at))
		f.at = append(f.at, time.Now())
		f.mu.Unlock()
		if n != want {
			f.fail("message %d came in place of %d", n, want)
		}
		m.Release()
	}
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

// gap returns the longest time since start in which nothing arrived, on the flows of 50 messages a second from an end.
func (r *mobilityRig) gap(from int, start time.Time) time.Duration {
	for _, f := range r.flows {
		if f.from != from || f.label != "ticks" {
			continue
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		var longest time.Duration
		last := start
		for _, at := range append(f.at, time.Now()) {
			if at.After(start) {
				longest = max(longest, at.Sub(last))
				last = at
			}
		}
		return longest
	}
	return 0
}

// worst is the longer of the gaps of both directions.
func (r *mobilityRig) worst(start time.Time) time.Duration {
	return max(r.gap(0, start), r.gap(1, start))
}

// finish ends the traffic and sees to it that every message was delivered once.
func (r *mobilityRig) finish() {
	r.t.Helper()
	r.stop()
	time.Sleep(5 * time.Second)
	for _, f := range r.flows {
		f.mu.Lock()
		if f.broken != "" {
			r.t.Errorf("%s from %d: %s", f.label, f.from, f.broken)
		}
		if n := uint64(len(f.at)); n != f.sent || n == 0 {
			r.t.Errorf("%s from %d: %d of %d messages arrived", f.label, f.from, n, f.sent)
		}
		for i, receipt := range f.receipts {
			if o := receipt.Outcome(); o != flow.Delivered {
				r.t.Errorf("%s from %d: the receipt of message %d says %v", f.label, f.from, i, o)
				break
			}
		}
		f.mu.Unlock()
	}
	for i, s := range r.ends {
		if err := s.Err(); err != nil {
			r.t.Errorf("end %d: the session ended with %v", i, err)
		}
		s.Abort(peer.CodeClosed, "")
	}
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
