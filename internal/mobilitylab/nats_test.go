// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobilitylab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
	"github.com/seed-98f0d4c2/runnel/peer"
	"github.com/seed-98f0d4c2/runnel/peer/peertest"
)

// A class says how hard a site is to reach.
type class int

const (
	easy       class = iota // whoever knows its address gets through, sooner or later
	restricted              // only from addresses and ports to which it has sent
	sequential              // and from another port for each destination, which can be predicted
	unforeseen              // or cannot
	only6                   // no IPv4
	blocked                 // no UDP
)

// A place is a kind of site.
type place struct {
	name  string
	class class
	six   bool // it has IPv6
	site  func(n *peertest.Network, seed uint64) peertest.Site
}

func siteOf(s peertest.Site) func(*peertest.Network, uint64) peertest.Site {
	return func(*peertest.Network, uint64) peertest.Site { return s }
}

// drawn is a site whose NAT draws ports by the seed.
func drawn(kind peertest.NAT, change func(*peertest.NATConfig)) func(*peertest.Network, uint64) peertest.Site {
	return func(_ *peertest.Network, seed uint64) peertest.Site {
		c := kind.Config()
		c.Seed = seed
		change(&c)
		return peertest.Site{NATConfig: &c}
	}
}

var places = []place{
	{"public", easy, false, siteOf(public)},
	{"full cone", easy, false, siteOf(cone)},
	{"address-restricted", easy, false, siteOf(open)},
	{"port-restricted", restricted, false, siteOf(home)},
	{"mapping timeout 20 s", restricted, false, drawn(peertest.PortRestricted, func(c *peertest.NATConfig) { c.Lifetime = 20 * time.Second })},
	{"double NAT", restricted, false, func(n *peertest.Network, _ uint64) peertest.Site {
		return peertest.Site{NAT: peertest.PortRestricted, Behind: n.Host(peertest.PortRestricted)}
	}},
	{"symmetric, sequential", sequential, false, drawn(peertest.Symmetric, func(*peertest.NATConfig) {})},
	{"symmetric, random", unforeseen, false, drawn(peertest.SymmetricRandom, func(*peertest.NATConfig) {})},
	{"dual stack", restricted, true, siteOf(dual)},
	{"IPv6 only", only6, true, siteOf(v6)},
	{"UDP blocked", blocked, false, siteOf(peertest.Site{NAT: peertest.PortRestricted, BlockUDP: true})},
}

// A pairing is two sites and how sure, and how soon, a session between them is direct.
type pairing struct {
	name   string
	sites  func(n *peertest.Network, seed uint64) [2]peertest.Site
	hosts  func(n *peertest.Network, seed uint64) [2]*peertest.Host // if not nil, in place of sites
	within time.Duration
	share  float64 // that is direct by then; zero: none ever is
	p50    time.Duration
	quick  bool // few runs, and none in tests
}

// pair says what two kinds of site make possible.
func pair(a, b place) pairing {
	p := pairing{name: a.name + " × " + b.name, within: 2 * time.Second, share: 0.99, p50: 2 * time.Second, quick: true}
	p.sites = func(n *peertest.Network, seed uint64) [2]peertest.Site {
		return [2]peertest.Site{a.site(n, seed), b.site(n, seed+1000)}
	}
	lo, hi := min(a.class, b.class), max(a.class, b.class)
	switch {
	case hi == blocked:
		p.share, p.quick = 0, lo != restricted
	case hi == only6 && a.six && b.six:
		p.quick = false
	case hi == only6:
		p.share, p.quick = 0, lo != restricted
	case lo == easy, hi == restricted:
	case lo == restricted && hi == sequential:
		p.share, p.quick = 0.95, a.name != "port-restricted"
	case lo == restricted && hi == unforeseen:
		p.share, p.within, p.p50, p.quick = 0.95, 5*time.Second, 3*time.Second, a.name != "port-restricted"
	case hi == sequential:
		p.share, p.within, p.p50, p.quick = 0.8, 5*time.Second, 3*time.Second, false
	default:
		p.share, p.within, p.quick = 0, 6*time.Second, false
	}
	return p
}

func pairings() []pairing {
	var all []pairing
	for i, a := range places {
		for _, b := range places[i:] {
			all = append(all, pair(a, b))
		}
	}
	near := pairing{name: "same network", within: 2 * time.Second, share: 1, p50: time.Second}
	near.hosts = func(n *peertest.Network, _ uint64) [2]*peertest.Host {
		h := n.Host(peertest.Symmetric)
		return [2]*peertest.Host{h, h.Neighbor()}
	}
	hairpin := pairing{name: "two homes behind one NAT that turns packets round", within: 2 * time.Second, share: 0.99, p50: time.Second}
	hairpin.sites = func(n *peertest.Network, _ uint64) [2]peertest.Site {
		c := peertest.PortRestricted.Config()
		c.Hairpin = true
		outer := n.HostAt(peertest.Site{NATConfig: &c})
		s := peertest.Site{NAT: peertest.PortRestricted, Behind: outer}
		return [2]peertest.Site{s, s}
	}
	return append(all, near, hairpin)
}

// TestNATs holds every pair of NATs to what it makes possible. Relays are there, over TCP too.
func TestNATs(t *testing.T) {
	for i, p := range pairings() {
		if p.quick && *runs == 0 {
			continue
		}
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			n := seeds(2)
			var direct, spoke []time.Duration
			for seed := *first; seed < *first+uint64(n); seed++ {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						d, s, ok := meet(t, p, seed)
						if ok {
							direct = append(direct, d)
						}
						spoke = append(spoke, s)
					})
				})
			}
			slices.Sort(direct)
			slices.Sort(spoke)
			in := 0
			for _, d := range direct {
				if d <= p.within {
					in++
				}
			}
			share, p50 := float64(in)/float64(n), quantile(direct, 0.5)
			cells := []string{p.name, "never", "relayed", "", ""}
			switch {
			case p.share == 0:
				if len(direct) > 0 {
					t.Errorf("%d of %d are direct, which cannot be", len(direct), n)
				}
			default:
				if n*int(1000*p.share) > 1000*in+999 || p50 > p.p50 {
					t.Errorf("%d of %d are direct within %v, p50 %v; want %.0f %%, p50 %v", in, n, p.within, p50, 100*p.share, p.p50)
				}
				cells = []string{
					p.name, fmt.Sprintf("%.0f %% in %v", 100*p.share, p.within), fmt.Sprintf("%.0f %%", 100*share), show(p50),
					show(quantile(direct, 0.95)),
				}
			}
			if worst := quantile(spoke, 0.95); worst > 2*time.Second {
				t.Errorf("the first message took %v, want at most 2 s", worst)
			}
			add("NATs", i, append(cells, show(quantile(spoke, 0.5)), show(quantile(spoke, 0.95)))...)
		})
	}
}

// meet establishes a session and returns when it was direct at both ends, and when the first message had arrived, from the
// dialling on.
func meet(t *testing.T, p pairing, seed uint64) (direct, spoke time.Duration, ok bool) {
	c := peertest.Config{OneWay: oneWay, Seed: seed, Relays: 2, RelayTCP: true, IPv6: true}
	if seed%2 == 1 {
		c.Loss, c.Jitter = float64(seed%10)*0.001/2, time.Duration(seed%3)*ms
	}
	n := peertest.New(t, &c)
	var hosts [2]*peertest.Host
	if p.hosts != nil {
		hosts = p.hosts(n, seed)
	} else {
		for i, s := range p.sites(n, seed) {
			hosts[i] = n.HostAt(s)
		}
	}
	if seed%4 >= 2 { // the role must not matter
		hosts[0], hosts[1] = hosts[1], hosts[0]
	}
	eps := [2]*peer.Endpoint{hosts[0].Endpoint(nil), hosts[1].Endpoint(nil)}
	time.Sleep(5 * time.Second) // relays are allocated
	time.Sleep(time.Duration(seed*7919%200) * ms)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	accepted := make(chan *peer.Session, 1)
	arrived := make(chan time.Duration, 1)
	go func() {
		s, err := eps[1].Accept(ctx)
		if err != nil {
			return
		}
		accepted <- s
		if f, err := s.AcceptFlow(ctx); err == nil {
			if _, err := f.Recv(ctx); err == nil {
				arrived <- time.Since(start)
			}
		}
	}()
	a, err := eps[0].Dial(ctx, eps[1].ID())
	if err != nil {
		t.Error(err)
		return 0, 0, false
	}
	f, err := a.OpenFlow("hello", nil)
	if err != nil {
		t.Error(err)
		return 0, 0, false
	}
	if _, err := f.Send(ctx, []byte("hello")); err != nil {
		t.Error(err)
		return 0, 0, false
	}
	select {
	case spoke = <-arrived:
	case <-ctx.Done():
		t.Error("the first message has not arrived")
		return 0, 0, false
	}
	b := <-accepted
	for time.Since(start) < p.within+time.Second {
		if a.Stats().Path.Kind == mobility.Direct && b.Stats().Path.Kind == mobility.Direct {
			direct, ok = time.Since(start), true
			break
		}
		time.Sleep(10 * ms)
	}
	for i, s := range []*peer.Session{a, b} {
		if s.Err() != nil {
			t.Errorf("end %d: the session ended with %v", i, s.Err())
		}
	}
	return direct, spoke, ok
}
