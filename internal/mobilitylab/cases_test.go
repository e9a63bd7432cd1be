// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

const (
	watched   = 3 * time.Second // after a change
	aftermath = time.Second     // after it, gaps are no longer taken to be its
	jump      = rtt + 50*ms     // after the first packet from a new address
	back      = rtt + 250*ms    // after the network's return
	oneLoss   = 100 * ms
)

var (
	home     = peertest.Site{NAT: peertest.PortRestricted}
	open     = peertest.Site{NAT: peertest.AddressRestricted}
	cone     = peertest.Site{NAT: peertest.FullCone}
	public   = peertest.Site{NAT: peertest.Public}
	random   = peertest.Site{NAT: peertest.SymmetricRandom}
	v6       = peertest.Site{NAT: peertest.PortRestricted, IPv6: peertest.OnlyIPv6, Firewall: true}
	dual     = peertest.Site{NAT: peertest.PortRestricted, IPv6: peertest.DualStack, Firewall: true}
	homes    = [2]peertest.Site{home, home}
	randoms  = [2]peertest.Site{random, random}
	holes    = []time.Duration{0, 200 * ms, 500 * ms, time.Second, 2 * time.Second}
	outages  = []time.Duration{5 * time.Second, 30 * time.Second, 110 * time.Second}
	usually  = "%s p50, %s p99"
	twoRelay = peertest.Config{Relays: 2}
)

// since makes what measures the longest gap from a change on, or from when change says it counts.
func since(change func(r *rig) time.Time) func(r *rig) [2]time.Duration {
	return func(r *rig) [2]time.Duration {
		start := change(r)
		end := time.Now().Add(aftermath)
		time.Sleep(watched)
		if g := r.gaps(end, time.Now()); max(g[0], g[1]) > 500*ms {
			r.t.Errorf("%v after the change nothing arrived for %v", aftermath, g)
		}
		return r.gaps(start, end)
	}
}

// at makes what measures the longest gap from before a change on.
func at(change func(r *rig)) func(r *rig) [2]time.Duration {
	return since(func(r *rig) time.Time {
		now := time.Now()
		change(r)
		return now
	})
}

// after makes what measures the longest gap when a change is over.
func after(change func(r *rig)) func(r *rig) [2]time.Duration {
	return since(func(r *rig) time.Time {
		change(r)
		return time.Now()
	})
}

func scenarios() []scenario {
	var all []scenario
	plus := func(name string, s setup, p50, p99 time.Duration, run func(r *rig) [2]time.Duration) {
		c := scenario{name: name, setup: s, run: run, p50: p50, p99: p99, clean: p99}
		if p50 == jump { // one packet that is lost is one round trip and a timer
			c.p99 += oneLoss
			p99 = c.p99
		}
		if p50 != p99 {
			c.say = fmt.Sprintf(usually, show(p50), show(p99))
		}
		all = append(all, c)
	}
	rebind := func(r *rig) { r.hosts[0].Rebind() }
	renumber := func(r *rig) { r.hosts[0].Renumber() }
	to := func(s peertest.Site) func(*rig) {
		return func(r *rig) { r.hosts[0].MoveToSite(s) }
	}

	plus("NAT: another port", setup{sites: [2]peertest.Site{home, open}}, jump, jump, since(seen(rebind)))
	plus("NAT: another address", setup{sites: [2]peertest.Site{home, cone}}, jump, jump, since(seen(renumber)))
	plus("NAT: another port, to a public peer", setup{sites: [2]peertest.Site{home, public}}, jump, jump, since(seen(rebind)))
	plus("NAT: another port, filtered by the peer's", setup{sites: homes}, 700*ms, 700*ms, at(rebind))
	plus("NAT: another address, filtered by the peer's", setup{sites: homes}, 700*ms, 700*ms, at(renumber))
	plus("NAT reboots in 3 s", setup{sites: homes}, 500*ms, 500*ms, after(func(r *rig) {
		r.hosts[0].SetOffline(true)
		time.Sleep(3 * time.Second)
		r.hosts[0].Rebind()
		r.hosts[0].SetOffline(false)
	}))
	for _, hole := range holes {
		plus(fmt.Sprintf("switch of networks, hole %v", hole), setup{sites: homes}, hole+3*rtt, hole+500*ms, at(func(r *rig) {
			if hole > 0 {
				r.hosts[0].Detach()
				time.Sleep(hole)
			}
			r.hosts[0].MoveTo(peertest.PortRestricted)
		}))
	}
	plus("default route changes, old network up", setup{sites: homes}, 3*rtt, 500*ms, func(r *rig) [2]time.Duration {
		a := r.hosts[0].AddUplink(home)
		time.Sleep(2 * time.Second)
		r.phase()
		return at(func(r *rig) { r.hosts[0].SetUplink(a) })(r)
	})
	sixes := setup{sites: [2]peertest.Site{dual, dual}, net: peertest.Config{IPv6: true}}
	sixes.before = func(r *rig) { to(home)(r); time.Sleep(2 * time.Second) }
	plus("IPv4 to IPv6", sixes, 3*rtt, 500*ms, at(to(v6)))
	sixes.before = func(r *rig) { to(v6)(r); time.Sleep(2 * time.Second) }
	plus("IPv6 to IPv4", sixes, 3*rtt, 500*ms, at(to(home)))
	plus("both switch at once", setup{sites: homes}, time.Second, time.Second, at(func(r *rig) {
		r.hosts[0].MoveTo(peertest.PortRestricted)
		r.hosts[1].MoveTo(peertest.PortRestricted)
	}))
	plus("switch, relayed", setup{sites: randoms}, 500*ms, 500*ms, at(to(random)))
	for _, outage := range outages {
		plus(fmt.Sprintf("outage of %v, silent", outage), setup{sites: homes}, back, back, after(func(r *rig) {
			r.hosts[0].SetOffline(true)
			time.Sleep(outage)
			r.hosts[0].SetOffline(false)
		}))
		plus(fmt.Sprintf("outage of %v, with news", outage), setup{sites: homes}, back, back, after(func(r *rig) {
			r.hosts[0].Detach()
			time.Sleep(outage)
			r.hosts[0].Attach()
		}))
	}
	plus("outage of 30s, relayed", setup{sites: randoms}, back, back, after(func(r *rig) {
		r.hosts[0].SetOffline(true)
		time.Sleep(30 * time.Second)
		r.hosts[0].SetOffline(false)
	}))
	plus("relay dies, another is there", setup{sites: randoms, net: twoRelay}, time.Second, time.Second, at(func(r *rig) {
		r.wantKind("before", mobility.Relayed)
		r.net.KillRelay(r.relayInUse())
	}))
	down := func(r *rig) { r.net.Hub().SetDown(true); time.Sleep(time.Second) }
	plus("switch, rendezvous dead", setup{sites: homes}, 500*ms, 500*ms, func(r *rig) [2]time.Duration {
		down(r)
		return at(to(home))(r)
	})
	plus("switch, rendezvous dead, public peer", setup{sites: [2]peertest.Site{home, public}}, 500*ms, 500*ms, func(r *rig) [2]time.Duration {
		down(r)
		return at(to(home))(r)
	})
	waits := &peer.Config{Addresses: func(peer.ID) peer.AddressPolicy { return peer.DirectAfterAccept }}
	plus("relayed to direct", setup{sites: homes, cfg: waits}, jump, jump, func(r *rig) [2]time.Duration {
		r.wantKind("before", mobility.Relayed)
		g := at(func(r *rig) {
			for _, s := range r.ends {
				s.AllowDirect()
			}
		})(r)
		r.wantKind("after", mobility.Direct)
		return g
	})
	plus("direct path dies, relay takes over", setup{sites: homes}, time.Second, time.Second, func(r *rig) [2]time.Duration {
		r.wantKind("before", mobility.Direct)
		g := at(func(r *rig) { r.cut() })(r)
		r.wantKind("after", mobility.Relayed)
		return g
	})
	plus("first message after 10 idle minutes, direct", setup{sites: homes, still: true}, jump, jump, idle(mobility.Direct))
	plus("first message after 10 idle minutes, relayed", setup{sites: randoms, still: true}, jump, jump, idle(mobility.Relayed))
	return all
}

// cut drops all packets between the two hosts.
func (r *rig) cut() {
	a, b := r.hosts[0].Addr(), r.hosts[1].Addr()
	r.net.Tap(func(p peertest.Packet) peertest.Verdict {
		if f, to := p.From.Addr(), p.To.Addr(); f == a && to == b || f == b && to == a {
			return peertest.Drop
		}
		return peertest.Pass
	})
}

// seen makes a change that counts from when the first packet from a new address of the mover reaches the other.
func seen(change func(r *rig)) func(r *rig) time.Time {
	return func(r *rig) time.Time {
		var mu sync.Mutex
		var arrived time.Time
		old := make(map[netip.AddrPort]bool)
		changed := false
		defer r.net.Tap(func(p peertest.Packet) peertest.Verdict {
			if p.To.Addr() != r.hosts[1].Addr() || p.From.Addr() != r.hosts[0].Addr() {
				return peertest.Pass
			}
			mu.Lock()
			defer mu.Unlock()
			if !changed {
				old[p.From] = true
			} else if arrived.IsZero() && !old[p.From] {
				arrived = p.Sent.Add(2 * oneWay)
			}
			return peertest.Pass
		})()
		time.Sleep(time.Second)
		r.phase()
		mu.Lock()
		changed = true
		mu.Unlock()
		change(r)
		time.Sleep(500 * ms)
		mu.Lock()
		defer mu.Unlock()
		if arrived.IsZero() {
			r.t.Error("no packet came from a new address")
		}
		return arrived
	}
}

// idle makes what measures how long the first messages take when nothing has been said for ten minutes.
func idle(k mobility.Kind) func(r *rig) [2]time.Duration {
	return func(r *rig) [2]time.Duration {
		r.wantKind("before", k)
		time.Sleep(10 * time.Minute)
		r.phase()
		start := time.Now()
		r.start()
		time.Sleep(2 * time.Second)
		return r.gaps(start, time.Now())
	}
}
