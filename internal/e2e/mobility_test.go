// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// slowCone and slowSymmetric have links on which a file takes a while.
var (
	slowCone      = &netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv4, Rate: walkRate}
	slowSymmetric = &netns.SiteConfig{NAT: netns.Symmetric, Family: netns.IPv4, Rate: walkRate}
)

// Metrics of default routes, as NetworkManager gives them.
const (
	metricCable = 100
	metricWiFi  = 600
)

// NATs forget, and their addresses change.
func TestWalkNAT(t *testing.T) {
	reboot := func(s func(w *walk) *netns.Site) func(w *walk) func() {
		return func(w *walk) func() {
			return func() {
				s(w).SetDown(true)
				s(w).Renumber()
				s(w).Rebind()
				time.Sleep(2 * time.Second)
				s(w).SetDown(false)
			}
		}
	}
	siteA := func(w *walk) *netns.Site { return w.siteA }
	siteB := func(w *walk) *netns.Site { return w.siteB }
	rebind := func(w *walk) func() { return func() { w.siteA.Rebind() } }
	for _, c := range []walkCase{
		{name: "port, peer public", a: slowCone, b: nil, spare: 2 * time.Second, prepare: rebind},
		{name: "port, peer behind NAT", a: slowCone, b: cone, spare: 5 * time.Second, prepare: rebind},
		{name: "port of the one who was dialled", a: slowCone, b: cone, spare: 5 * time.Second, prepare: func(w *walk) func() {
			return func() { w.siteB.Rebind() }
		}},
		{name: "both ports", a: slowCone, b: cone, spare: 5 * time.Second, prepare: func(w *walk) func() {
			return func() {
				w.siteA.Rebind()
				w.siteB.Rebind()
			}
		}},
		{name: "address", a: slowCone, b: cone, spare: 5 * time.Second, prepare: func(w *walk) func() {
			return func() { w.siteA.Renumber() }
		}},
		{name: "reboot", a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: reboot(siteA)},
		{name: "reboot of the one who was dialled", a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: reboot(siteB)},
	} {
		t.Run(c.name, c.run)
	}
}

// Hosts change networks.
func TestWalkSwitch(t *testing.T) {
	const hole = time.Second
	// to gives alice another uplink, and says what happens with the two of them.
	to := func(c *netns.SiteConfig, f func(w *walk, from, to *netns.Uplink)) func(w *walk) func() {
		return func(w *walk) func() {
			from, to := w.hostA.Uplink(), w.hostA.Plug(w.Site("a2", c))
			from.Down()
			from.Up(metricWiFi)
			return func() { f(w, from, to) }
		}
	}
	hard := func(_ *walk, from, to *netns.Uplink) {
		from.Down()
		time.Sleep(hole)
		to.Up(metricCable)
	}
	for _, c := range []walkCase{
		{name: "with a hole", a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: to(slowCone, hard)},
		{name: "at once", a: slowCone, b: cone, spare: 5 * time.Second, prepare: to(slowCone, func(_ *walk, from, to *netns.Uplink) {
			from.Down()
			to.Up(metricCable)
		})},
		{name: "old still up", a: slowCone, b: cone, spare: 5 * time.Second, prepare: to(slowCone, func(_ *walk, from, to *netns.Uplink) {
			to.Up(metricCable)
			time.Sleep(hole)
			from.Down()
		})},
		{
			name: "IPv4 to IPv6", a: slowCone, b: nil, hole: true, spare: 5 * time.Second,
			prepare: to(&netns.SiteConfig{NAT: netns.Cone, Family: netns.IPv6, Rate: walkRate}, hard),
		},
		{name: "both peers", a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: func(w *walk) func() {
			fromA, toA := w.hostA.Uplink(), w.hostA.Plug(w.Site("a2", slowCone))
			fromB, toB := w.hostB.Uplink(), w.hostB.Plug(w.Site("b2", cone))
			return func() {
				fromA.Down()
				fromB.Down()
				time.Sleep(hole)
				toA.Up(metricCable)
				toB.Up(metricCable)
			}
		}},
		{name: "without a rendezvous", a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: to(slowCone, func(w *walk, from, to *netns.Uplink) {
			w.rendezvous.kill()
			hard(w, from, to)
		})},
	} {
		t.Run(c.name, c.run)
	}
}

// The network is away for a while: silently, or with the cable.
func TestWalkOutage(t *testing.T) {
	silent := func(d time.Duration) func(w *walk) func() {
		return func(w *walk) func() {
			return func() {
				w.siteA.SetDown(true)
				time.Sleep(d)
				w.siteA.SetDown(false)
			}
		}
	}
	const slow = 100 * time.Millisecond
	for _, c := range []walkCase{
		{name: "5s", a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: silent(5 * time.Second)},
		{name: "5s relayed", a: slowSymmetric, b: symmetric, begin: "relayed", end: "relayed", hole: true, spare: 5 * time.Second, prepare: silent(5 * time.Second)},
		{name: "5s unplugged", a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: func(w *walk) func() {
			return func() {
				w.hostA.Uplink().Down()
				time.Sleep(5 * time.Second)
				w.hostA.Uplink().Up(0)
			}
		}},
		{name: "30s", slow: true, interval: slow, a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: silent(30 * time.Second)},
		{name: "110s", slow: true, interval: slow, a: slowCone, b: cone, hole: true, spare: 8 * time.Second, prepare: silent(110 * time.Second)},
	} {
		t.Run(c.name, c.run)
	}
}

// A process is suspended and runs again, as when a laptop's lid is closed.
func TestWalkSuspended(t *testing.T) {
	suspend := func(d time.Duration) func(w *walk) func() {
		return func(w *walk) func() {
			return func() {
				_ = w.bob.cmd.Process.Signal(syscall.SIGSTOP)
				time.Sleep(d)
				_ = w.bob.cmd.Process.Signal(syscall.SIGCONT)
			}
		}
	}
	for _, c := range []walkCase{
		{name: "10s", a: slowCone, b: cone, hole: true, spare: 5 * time.Second, prepare: suspend(10 * time.Second)},
		{
			name: "60s", slow: true, interval: 100 * time.Millisecond, a: slowCone, b: cone,
			hole: true, spare: 5 * time.Second, prepare: suspend(time.Minute),
		},
	} {
		t.Run(c.name, c.run)
	}
}

// The relay that carries a session dies, and another one is there.
func TestWalkRelayDies(t *testing.T) {
	(&walkCase{
		name: "relay dies", lab: labConfig{spare: true}, a: slowSymmetric, b: symmetric, begin: "relayed", end: "relayed",
		spare: 10 * time.Second, prepare: func(w *walk) func() {
			return func() {
				at := w.alice.pathAddr(w.bob)
				for host, p := range map[*netns.Host]*process{w.relayHost: w.relay, w.spareHost: w.spare} {
					if host.Addr() == at.Addr() {
						p.kill()
						return
					}
				}
				w.t.Errorf("the session goes through %v, want a relay", at)
			}
		},
	}).run(t)
}

// A peer's program is killed and started again. The session with the old one ends as soon as the new one dials, with an error
// that says so.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	l := newLab(t, labConfig{})
	p := l.pair(cone, cone)
	meet(p.alice, p.bob)
	talk(p.alice, p.bob, "before")
	p.bob.kill()
	time.Sleep(time.Second)

	m := p.alice.mark()
	bob := l.chatAgain(p.siteB.Host("bob2"), "bob", p.bob.dir)
	begin := time.Now()
	bob.say("/add " + p.alice.id)
	bob.expect(connectTime, `^\* ready \S+ alice `)
	dialled := time.Since(begin)
	p.alice.expectAfter(m, connectTime, `^\* ready \S+ bob `)
	p.alice.expectLog(connectTime, `msg="session ended" .*superseded`)
	t.Logf("dialled in %v, and the old session was over after %v", dialled.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	talk(p.alice, bob, "after")
	p.alice.path(bob)
}
