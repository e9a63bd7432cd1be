// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/wire"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

func cone() *testNAT               { return &testNAT{step: 1} }
func sequential(step int) *testNAT { return &testNAT{step: step, dependent: true} }
func atRandom() *testNAT           { return &testNAT{dependent: true} }
func step(n int) func() *testNAT   { return func() *testNAT { return sequential(n) } }
func busyStep(n int) func() *testNAT {
	return func() *testNAT { return &testNAT{step: n, dependent: true, background: 20} }
}
func (n *testNAT) of(l int) *testNAT { n.limit = l; return n }

// TestPunch measures how often, and how soon, two NATs are got through.
func TestPunch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		a, b   func() *testNAT
		loss   float64
		share  float64 // of seeds that must be direct
		within time.Duration
		p50    time.Duration
	}{
		{"restricted × sequential", cone, step(1), 0, .98, 2 * time.Second, time.Second},
		{"sequential × restricted", step(1), cone, 0, .98, 2 * time.Second, time.Second},
		{"restricted × sequential by 2", cone, step(2), 0, .98, 2 * time.Second, time.Second},
		{"restricted × sequential by −1", cone, step(-1), 0, .98, 2 * time.Second, time.Second},
		{"restricted × busy sequential", cone, busyStep(1), 0, .98, 2 * time.Second, time.Second},
		{"restricted × busy by 2, loss", cone, busyStep(2), .05, .95, 3 * time.Second, time.Second},
		{"restricted × random", cone, atRandom, 0, .95, 5 * time.Second, 3 * time.Second},
		{"random × restricted", atRandom, cone, 0, .95, 5 * time.Second, 3 * time.Second},
		{"restricted × random, loss", cone, atRandom, .05, .9, 6 * time.Second, 3 * time.Second},
		{"sequential × sequential", step(1), step(2), 0, .95, 3 * time.Second, time.Second},
		{"busy × busy", busyStep(1), busyStep(-2), 0, .8, 5 * time.Second, 2 * time.Second},
		{"busy × busy, loss", busyStep(1), busyStep(1), .05, .8, 6 * time.Second, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 300
			if testing.Short() {
				n = 60
			}
			var took []time.Duration
			worst := 0
			for seed := range n {
				r := newPunchRig(t, uint64(seed), tt.a(), tt.b(), mobility.PunchConfig{})
				r.loss = tt.loss
				r.run(20 * time.Second)
				if !r.direct.IsZero() && r.direct.Sub(r.began) <= tt.within {
					took = append(took, r.direct.Sub(r.began))
				}
				for _, s := range r.sides {
					worst = max(worst, s.probes)
					if s.probes > 1600 || s.most > 256+predictedSlack {
						t.Fatalf("seed %d: %d probes from %d sockets, beyond the budget", seed, s.probes, s.most)
					}
				}
			}
			slices.Sort(took)
			share := float64(len(took)) / float64(n)
			p50 := tt.within
			if len(took) > n/2 {
				p50 = took[n/2]
			}
			t.Logf("direct %.1f %%, p50 %v, at most %d probes", 100*share, p50, worst)
			if share < tt.share || p50 > tt.p50 {
				t.Errorf("direct within %v: %.1f %%, p50 %v; want %.0f %%, p50 %v", tt.within, 100*share, p50, 100*tt.share, tt.p50)
			}
		})
	}
}

const predictedSlack = 8

func TestPunchHopeless(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b *testNAT
		say  string
	}{
		{"random × random", atRandom(), atRandom(), "at random"},
		{"random × sequential", atRandom(), sequential(1), "at random"},
		{"cone × cone", cone(), cone(), "firewall"},
	} {
		r := newPunchRig(t, 1, tt.a, tt.b, mobility.PunchConfig{})
		r.run(10 * time.Second)
		for _, s := range r.sides {
			if s.probes > 0 || len(s.done) != 1 || !strings.Contains(s.Report(), tt.say) {
				t.Errorf("%s: %d probes, done %q, report %q; want none, once, and a report with %q",
					tt.name, s.probes, s.done, s.Report(), tt.say)
			}
			if s.open != 0 {
				t.Errorf("%s: %d sockets left open", tt.name, s.open)
			}
		}
	}
}

// A NAT that is exhausted is noticed after few mappings, and what the session depends on survives.
func TestPunchSparesTheNAT(t *testing.T) {
	for _, evict := range []bool{false, true} {
		for seed := range uint64(20) {
			nat := atRandom().of(64)
			nat.evict = evict
			r := newPunchRig(t, seed, cone(), nat, mobility.PunchConfig{})
			r.run(20 * time.Second)
			s := r.sides[1]
			if s.nsock > 6+128 {
				t.Errorf("seed %d: %d sockets opened behind a NAT with 64 mappings", seed, s.nsock)
			}
			if _, ok := nat.mappings[natKey{0, stunA}]; !ok && !evict {
				t.Errorf("seed %d: the mapping of the own socket is gone", seed)
			}
			if r.direct.IsZero() && s.Active() {
				t.Errorf("seed %d: still at it after 20 s", seed)
			}
		}
	}
}

// Without a word from the peer nothing is sent, and a peer that says what it likes makes us send little.
func TestPunchNeedsConsent(t *testing.T) {
	r := newPunchRig(t, 1, cone(), atRandom(), mobility.PunchConfig{})
	r.run(time.Second)
	r.loss = 1
	r.direct = time.Time{}
	r.run(3 * time.Second)
	for i, s := range r.sides {
		n := s.probes
		r.run(20 * time.Second)
		if s.Active() || s.probes != n {
			t.Errorf("side %d sent %d more probes to a silent peer", i, s.probes-n)
		}
	}

	// A peer that begins attempt after attempt.
	p := mobility.NewPuncher(&mobility.PunchConfig{Rand: func(b []byte) { b[0]++ }})
	p.SetLocal(mobility.MappingIndependent, netip.MustParseAddrPort("198.51.100.1:1"), nil)
	now := time.Unix(1e9, 0)
	probes := 0
	for i := range 6000 { // ten minutes
		now = now.Add(100 * time.Millisecond)
		p.HandlePeer(now, &wire.Punch{
			Phase: wire.PunchHello, Attempt: uint64(i + 1), Mapping: uint8(mobility.MappingDependent),
			Ports: uint8(mobility.PortsRandom), Addr: netip.MustParseAddrPort("203.0.113.9:9"),
		})
		p.HandleTimeout(now)
		for {
			a, ok := p.Poll()
			if !ok {
				break
			}
			if a.Op == mobility.PunchProbe {
				probes++
			}
		}
	}
	if most := 20 * 1500; probes > most {
		t.Errorf("%d probes in ten minutes, want at most %d", probes, most)
	}
}

func TestPunchRetries(t *testing.T) {
	r := newPunchRig(t, 1, atRandom(), cone(), mobility.PunchConfig{})
	r.blind = true
	r.run(16 * time.Minute)
	if n := len(r.sides[0].done); n < 4 || n > 6 {
		t.Errorf("%d attempts in 16 minutes, want about 5: after 1, 2, 4 and 8 minutes", n)
	}
	r.blind = false
	// Another network: at once.
	s := r.sides[0]
	*s.nat = *sequential(1)
	s.nat.init("198.51.100.1", r.rng)
	s.HandleNetworkChange(r.now)
	r.locate(s)
	r.began = r.now
	r.run(10 * time.Second)
	if r.direct.IsZero() {
		t.Errorf("not direct after moving behind another NAT: %s", s.Report())
	}
}

func TestClassifyPorts(t *testing.T) {
	ports := func(mapped ...uint16) (out []mobility.PortSample) {
		for i, m := range mapped {
			out = append(out, mobility.PortSample{Local: uint16(40000 + i), Mapped: m})
		}
		return out
	}
	for _, tt := range []struct {
		in   []mobility.PortSample
		rule mobility.PortRule
		step int
	}{
		{ports(40000, 40001, 40002, 40003), mobility.PortsPreserved, 0},
		{ports(50000, 50001, 50002, 50003), mobility.PortsSequential, 1},
		{ports(50000, 50002, 50004, 50008, 50010), mobility.PortsSequential, 2},
		{ports(50010, 50008, 50006, 50004), mobility.PortsSequential, -2},
		{ports(65533, 65535, 1025, 1027, 1029), mobility.PortsSequential, 2},
		{ports(1, 2), mobility.PortsUnknown, 0},
		{ports(51000, 1301, 33002, 9003, 2004, 20001), mobility.PortsParity, 0},
		{ports(51000, 1300, 33002, 9000, 2004, 20000), mobility.PortsRandom, 0},
	} {
		if rule, step := mobility.ClassifyPorts(tt.in); rule != tt.rule || step != tt.step {
			t.Errorf("%v are %v by %d, want %v by %d", tt.in, rule, step, tt.rule, tt.step)
		}
	}
	wrong := 0
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		s := make([]uint16, 6)
		for i := range s {
			s[i] = uint16(1024 + rng.IntN(64512))
		}
		if rule, _ := mobility.ClassifyPorts(ports(s...)); rule != mobility.PortsRandom && rule != mobility.PortsParity {
			wrong++
		}
	}
	if wrong > 2 {
		t.Errorf("%d of 10000 random NATs are thought to be otherwise", wrong)
	}
}

func TestClassifyMapping(t *testing.T) {
	a, b := netip.MustParseAddrPort("198.51.100.1:1000"), netip.MustParseAddrPort("198.51.100.1:1001")
	for _, tt := range []struct {
		x, y netip.AddrPort
		want mobility.Mapping
	}{
		{a, a, mobility.MappingIndependent},
		{a, b, mobility.MappingDependent},
		{a, netip.AddrPort{}, mobility.MappingUnknown},
	} {
		answers := map[netip.AddrPort]netip.AddrPort{stunA: tt.x}
		if tt.y.IsValid() {
			answers[stunB] = tt.y
		}
		if got := mobility.ClassifyMapping(answers, nil); got != tt.want {
			t.Errorf("%v and %v: %v, want %v", tt.x, tt.y, got, tt.want)
		}
	}
	if got := mobility.ClassifyMapping(nil, nil); got != mobility.MappingUnknown {
		t.Errorf("no answers: %v, want unknown", got)
	}
}

// A peer that takes part for ever, and names another host each time, has no more packets sent than one that takes part now
// and then: those of one attempt, and then 50 a second. And no attempt lasts for ever.
func TestPunchesOnAverage(t *testing.T) {
	for _, ports := range []mobility.PortRule{mobility.PortsRandom, mobility.PortsSequential} {
		now := time.Unix(1_000_000, 0)
		start := now
		p := mobility.NewPuncher(&mobility.PunchConfig{Rand: func(b []byte) { clear(b); b[0] = byte(now.UnixNano() >> 10) }})
		p.SetLocal(mobility.MappingIndependent, netip.MustParseAddrPort("192.0.2.1:4000"), nil)
		p.SetRTT(40 * time.Millisecond)
		probes, hosts := 0, make(map[netip.Addr]bool)
		var attempt, round uint64
		var active time.Time // since when
		longest := time.Duration(0)
		for ; now.Sub(start) < 10*time.Minute; now = now.Add(10 * time.Millisecond) {
			m := wire.Punch{
				Mapping: uint8(mobility.MappingDependent), Ports: uint8(ports), Stride: 1, Low: 1024, High: 65535, Count: 64,
				Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(len(hosts))}), 20000),
			}
			if !p.Active() {
				active = time.Time{}
			} else if active.IsZero() {
				active = now
			} else {
				longest = max(longest, now.Sub(active))
			}
			round++
			switch {
			case !p.Active():
				attempt, round = attempt+1, 0
				m.Phase = wire.PunchHello
			case ports == mobility.PortsRandom:
				m.Phase = wire.PunchSearch
			default:
				m.Phase = wire.PunchReady
				if now.Sub(active) > 20*time.Second {
					m.Stride = 0 // nothing follows from it
				}
			}
			m.Attempt, m.Round = attempt, round
			p.HandlePeer(now, &m)
			if at := p.NextTimeout(); !at.IsZero() && !now.Before(at) {
				p.HandleTimeout(now)
			}
			for a, ok := p.Poll(); ok; a, ok = p.Poll() {
				if a.Op == mobility.PunchProbe {
					probes++
					hosts[a.Addr.Addr()] = true
				}
			}
		}
		if most := 1500 + 50*600; probes < 1500 || probes > most {
			t.Errorf("ports %v: %d probes in ten minutes, want at most %d", ports, probes, most)
		}
		if longest > 61*time.Second {
			t.Errorf("ports %v: an attempt has lasted %v, want a minute at most", ports, longest)
		}
		t.Logf("ports %v: %d probes to %d hosts, an attempt at most %v long", ports, probes, len(hosts), longest)
	}
}
