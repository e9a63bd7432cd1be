// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netwatch"
	"github.com/seed-98f0d4c2/runnel/internal/pace"
)

// How often everything is looked after when the network changes: a flapping link must not keep us busy. A change seldom
// comes alone: the old address goes, then there is a new one, then a route.
const (
	changeEvery = 200 * time.Millisecond
	changeBurst = 4
	changePause = 50 * time.Millisecond // between two questions to the monitor, which may know of something new each time
)

// ground is what an endpoint knows of the network it stands on.
type ground struct {
	mu      sync.Mutex
	why     string        // the network has changed; "": not since that was last seen to
	kick    chan struct{} // capacity 1: there is something for the loop
	outages int           // sessions that no path carries

	changes []NetworkChange // the latest

	hosts []netip.AddrPort // our addresses when the network last changed; the loop's
}

func (g *ground) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// networkChanged is told that the network is another, or may be: addresses or links have changed, the host has slept, or
// an outage is over. It has everything that depends on it looked after, at once the first few times and every changeEvery
// at most after that. It returns at once.
func (e *Endpoint) networkChanged(why string) {
	e.ground.mu.Lock()
	e.ground.why = why
	e.ground.mu.Unlock()
	e.ground.wake()
}

// outage counts the sessions that no path carries: n is 1 for one more, -1 for one less. While there is one the STUN
// servers are polled for the return of the network.
func (e *Endpoint) outage(n int) {
	e.ground.mu.Lock()
	e.ground.outages += n
	e.ground.mu.Unlock()
	e.ground.wake()
}

// groundLoop sees to changes of the network until the endpoint ends.
func (e *Endpoint) groundLoop() {
	g := &e.ground
	g.hosts = e.hostAddrs()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var changes pace.Pace
	var polled time.Time // when a server was last asked
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-g.kick:
		case <-timer.C:
		}
		now := time.Now()
		due := changes.Due(now, changeEvery, changeBurst)
		g.mu.Lock()
		why, outage := g.why, g.outages > 0
		if !due.After(now) {
			g.why = ""
		}
		g.mu.Unlock()
		next := now.Add(time.Hour)
		switch {
		case why == "":
		case due.After(now):
			next = due
		default:
			changes.Take(now, changeEvery)
			e.lookAfter(why)
		}
		switch {
		case !outage:
			e.stun.rest()
		case now.Sub(polled) >= e.stun.pollWait(now):
			polled = now
			e.stun.poll(now)
			fallthrough
		default:
			next = earliest(next, polled.Add(e.stun.pollWait(now)))
		}
		timer.Reset(time.Until(next))
	}
}

// lookAfter does what a change of the network asks for.
func (e *Endpoint) lookAfter(why string) {
	hosts := e.hostAddrs()
	moved := !slices.Equal(hosts, e.ground.hosts)
	e.log.Info("network changed", slog.String("why", why), slog.Bool("moved", moved))
	e.ground.note(time.Now(), why, moved)
	e.stun.networkChanged(moved)
	uprooted := moved && len(hosts) > 0 && len(e.ground.hosts) > 0
	for _, a := range e.ground.hosts {
		uprooted = uprooted && !slices.Contains(hosts, a)
	}
	if len(hosts) > 0 { // else it may come back to where it was
		e.ground.hosts = hosts
	}
	e.relays.networkChanged(uprooted)
	e.portmap.networkChanged()
	e.lan.networkChanged()
	if n, ok := e.cfg.Signaler.(interface{ NetworkChanged() }); ok {
		n.NetworkChanged()
	}
	e.eachSession(func(s *Session) { s.post(func(now time.Time) { s.localChanged(now, why) }) })
}

// monitorLoop waits for news of the network.
func (e *Endpoint) monitorLoop() {
	own, system := e.cfg.NetworkMonitor.(*netwatch.Watcher)
	if system {
		defer own.Close()
	}
	for {
		if err := e.cfg.NetworkMonitor.WaitChange(e.ctx); err != nil {
			if e.ctx.Err() == nil {
				e.log.Warn("network no longer watched", slog.Any("err", err))
			}
			return
		}
		why := "addresses, routes or links have changed"
		if system {
			why = own.Change()
		}
		e.networkChanged(why)
		if !e.sleep(changePause) { // what changes meanwhile is told next
			return
		}
	}
}
