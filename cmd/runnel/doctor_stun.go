// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/seed-98f0d4c2/runnel/internal/udp"
	"github.com/seed-98f0d4c2/runnel/mobility"
)

// outside is what STUN servers see of this host.
type outside struct {
	servers []netip.AddrPort                  // that were asked
	answers map[netip.AddrPort]netip.AddrPort // server → how it sees one socket
	class   mobility.NATClass
}

// learnPorts is how many fresh sockets show by what rule a NAT chooses ports.
const learnPorts = 6

// stun asks every server by every family there is, and classifies the NAT.
func (d *doctor) stun(ctx context.Context) []finding {
	if len(d.services.STUN) == 0 {
		return []finding{{"stun", note, "no server is known: nothing can be said of UDP and NAT", "Give --stun or --rendezvous."}}
	}
	var out []finding
	var asked []netip.AddrPort
	for _, name := range d.services.STUN {
		addrs, err := lookup(ctx, name)
		if err != nil {
			out = append(out, finding{"stun", fail, name + ": " + err.Error(), "Check the name, and this host's resolver."})
		}
		asked = append(asked, addrs...)
	}
	probers := make(map[bool]*prober)
	for _, v6 := range []bool{false, true} {
		if p, err := newProber(ctx, v6); err == nil {
			probers[v6] = p
			defer p.close()
		}
	}
	d.seen.answers = make(map[netip.AddrPort]netip.AddrPort)
	found := make([]finding, len(asked))
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, server := range asked {
		all.Go(func() {
			f := finding{"stun", fail, fmt.Sprintf("%v: %v", server, errSilent), ""}
			if p := probers[server.Addr().Is6()]; p != nil {
				mapped, rtt, err := p.ask(ctx, server, 0)
				if err == nil {
					f = finding{"stun", ok, fmt.Sprintf("%v sees us as %v in %v", server, mapped, short(rtt)), ""}
					mu.Lock()
					d.seen.answers[server] = mapped
					mu.Unlock()
				} else {
					f.Text = fmt.Sprintf("%v: %v", server, err)
				}
			}
			found[i] = f
		})
	}
	all.Wait()
	d.seen.servers = asked
	some := false // that another server, or the other family, answers makes silence less of a matter
	for _, f := range found {
		some = some || f.Verdict == ok
	}
	for i := range found {
		if found[i].Verdict == fail && some {
			found[i].Verdict = note
			if asked[i].Addr().Is4() {
				found[i].Verdict = warn
			}
		}
	}
	out = append(out, found...)
	out = append(out, d.udpOut()...)
	out = append(out, d.nat(ctx)...)
	return append(out, d.mtu(ctx, probers)...)
}

// udpOut says whether UDP passes at all.
func (d *doctor) udpOut() []finding {
	var out []finding
	for _, v6 := range []bool{false, true} {
		name := "udp " + map[bool]string{false: "IPv4", true: "IPv6"}[v6]
		asked, answered := 0, 0
		for _, s := range d.seen.servers {
			if s.Addr().Is6() == v6 {
				asked++
				if d.seen.answers[s].IsValid() {
					answered++
				}
			}
		}
		switch {
		case asked == 0:
		case answered > 0:
			out = append(out, finding{name, ok, fmt.Sprintf("%d of %d STUN servers answer", answered, asked), ""})
		case v6:
			out = append(out, finding{name, note, "no STUN server answers", "With IPv6 on both sides no NAT would be in the way."})
		default:
			out = append(out, finding{
				name, fail, "no STUN server answers: UDP does not leave this network, or the servers are down",
				"Allow outgoing UDP in the firewall; until then sessions are relayed by TCP or TLS, if a relay offers that.",
			})
		}
	}
	return out
}

// nat classifies the NAT, by IPv4.
func (d *doctor) nat(ctx context.Context) []finding {
	answers := maps.Clone(d.seen.answers)
	maps.DeleteFunc(answers, func(server, _ netip.AddrPort) bool { return server.Addr().Is6() })
	if len(answers) == 0 {
		return nil
	}
	hosts, _ := udp.LocalAddrs()
	local := func(ip netip.Addr) bool { return slices.Contains(hosts, ip) }
	d.seen.class.Mapping = mobility.ClassifyMapping(answers, local)
	for _, mapped := range answers {
		if local(mapped.Addr()) {
			return []finding{{"nat", ok, "none: the internet sees this host's own address", ""}}
		}
	}
	servers := slices.SortedFunc(maps.Keys(answers), netip.AddrPort.Compare)
	var samples []mobility.PortSample
	for range learnPorts {
		p, err := newProber(ctx, false)
		if err != nil {
			break
		}
		mapped, _, err := p.ask(ctx, servers[0], 0)
		if err == nil {
			samples = append(samples, mobility.PortSample{Local: p.local.Port(), Mapped: mapped.Port()})
		}
		defer p.close() // all are open at one time
	}
	d.seen.class.Ports, d.seen.class.Step = mobility.ClassifyPorts(samples)
	f := finding{"nat", ok, d.seen.class.String(), ""}
	switch {
	case d.seen.class.Mapping == mobility.MappingUnknown:
		f.Verdict = note
		f.Remedy = "One STUN address cannot tell how the NAT maps: have the rendezvous hand out a second one (relay --stun-listen)."
	case d.seen.class.Mapping == mobility.MappingDependent && d.seen.class.Ports == mobility.PortsSequential:
		f.Verdict = warn
		f.Remedy = "Every destination gets a port of its own: a direct path takes longer. Port mapping on the router, or IPv6, would help."
	case d.seen.class.Mapping == mobility.MappingDependent:
		f.Verdict = warn
		f.Remedy = "Every destination gets a port that nobody can predict: with a peer behind such a NAT, sessions are relayed. " +
			"Enable port mapping (UPnP, NAT-PMP or PCP) on the router, or use IPv6."
	}
	return []finding{f}
}

// mtuSizes are of UDP payloads: what every path must carry here, and what common links do.
var mtuSizes = []int{1200, 1252, 1372, 1452, 1472}

// mtu finds the largest question that a server answers; nothing on the way may cut it in pieces.
func (d *doctor) mtu(ctx context.Context, probers map[bool]*prober) []finding {
	servers := slices.SortedFunc(maps.Keys(d.seen.answers), netip.AddrPort.Compare)
	if len(servers) == 0 {
		return nil
	}
	server := servers[0]
	const fixed = 24 // header of the message and of the attribute
	passed := make([]bool, len(mtuSizes))
	var all sync.WaitGroup
	for i, size := range mtuSizes {
		all.Go(func() {
			_, _, err := probers[server.Addr().Is6()].ask(ctx, server, size-fixed)
			passed[i] = err == nil
		})
	}
	all.Wait()
	most := 0
	for i, p := range passed {
		if p {
			most = mtuSizes[i]
		}
	}
	over := 28
	if server.Addr().Is6() {
		over = 48
	}
	switch {
	case most == 0:
		return []finding{{
			"mtu", note, fmt.Sprintf("%v answers small questions only", server),
			"If it is not the server's doing, packets of 1200 bytes are lost on the way, and sessions with them.",
		}}
	case most < mtuSizes[1]:
		return []finding{{"mtu", warn, fmt.Sprintf("packets of %d bytes pass, larger ones do not", most+over), "Sessions work, with small packets."}}
	}
	return []finding{{"mtu", ok, fmt.Sprintf("packets of %d bytes pass to %v", most+over, strings.TrimSpace(server.String())), ""}}
}
