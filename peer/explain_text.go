// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
)

// String makes a report of x, of some dozen lines, for people. Times are counted from the session's beginning.
func (x Explanation) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("peer %s: %s, since %s", x.Peer.Short(), x.State, x.at(x.Since))
	if x.Error != "" {
		line("  %s", x.Error)
	}
	if p := x.Path; p != nil {
		line("path: %s, because %s", p.describe(), p.Why)
	}
	if x.Remedy != "" {
		line("what would help: %s", x.Remedy)
	}
	line("address policy: %s", x.Policy)
	line("NAT here: %s; peer's: %s", x.NAT, x.PeerNAT)
	for _, p := range x.Punches {
		line("  %s %s", x.at(p.At), p.Why)
	}
	x.writePaths(line)
	x.writeCandidates(line)
	x.writeServers(line)
	x.writeStory(line)
	return b.String()
}

func (x *Explanation) writePaths(line func(string, ...any)) {
	if len(x.Paths) > 0 {
		line("paths:")
	}
	for i := range x.Paths {
		p := &x.Paths[i]
		tried := "not tried"
		if p.Challenges > 0 {
			tried = fmt.Sprintf("%d of %d challenges answered", p.Answers, p.Challenges)
		}
		switch {
		case !p.LastTried.IsZero():
			tried += fmt.Sprintf(" from %s to %s", x.at(p.Tried), x.at(p.LastTried))
		case !p.Tried.IsZero():
			tried = "checked from " + x.at(p.Tried)
		}
		if !p.Heard.IsZero() {
			tried += ", last heard " + x.at(p.Heard)
		}
		line("  %-9s %s: %s; %s", p.State, p.describe(), tried, p.Why)
	}
}

func (x *Explanation) writeCandidates(line func(string, ...any)) {
	list := func(who string, cs []CandidateFacts) {
		var texts []string
		for _, c := range cs {
			texts = append(texts, c.Kind+" "+c.Addr.String())
		}
		if len(texts) == 0 {
			texts = []string{"nothing"}
		}
		line("%s: %s", who, strings.Join(texts, ", "))
	}
	list("told the peer", x.Local)
	list("the peer told", x.Remote)
}

func (x *Explanation) writeServers(line func(string, ...any)) {
	for _, s := range x.STUN {
		line("stun %v: %s", s.Server, orNone(s.Mapped, "no answer"))
	}
	for _, r := range x.Relays {
		text := "no allocation"
		if r.Relayed.IsValid() {
			text = fmt.Sprintf("%v by %s, since %s", r.Relayed, r.URL, x.at(r.Since))
		}
		if r.Error != "" {
			text += fmt.Sprintf("; last error %s, %s: %s", x.at(r.FailedAt), r.FailedURL, r.Error)
		}
		line("relay %s: %s", r.Host, text)
	}
	if len(x.PortMapping) == 0 {
		line("port mapping: not asked for")
	}
	for _, m := range x.PortMapping {
		text := "not known yet"
		switch {
		case m.External.IsValid():
			text = m.Protocol + " forwards " + m.External.String()
		case m.Error != "":
			text = m.Error
		}
		name := "IPv4"
		if m.IPv6 {
			name = "IPv6"
		}
		line("port mapping, %s: %s", name, text)
	}
}

func (x *Explanation) writeStory(line func(string, ...any)) {
	var marks []string
	for _, m := range x.Timeline {
		marks = append(marks, fmt.Sprintf("%s +%v", m.Name, round(m.Took)))
	}
	line("timeline: %s", strings.Join(marks, ", "))
	line("switches %d, stalls %d, stalled for %v; packets of %d bytes; ecn %s",
		x.Switches, x.Stalls, round(x.StalledFor), x.MaxPacket, x.ECN)
	for _, c := range x.Changes {
		line("  %s network changed: %s", x.at(c.At), c.Why)
	}
	for _, d := range x.Decisions {
		times := ""
		if d.Count > 1 {
			times = fmt.Sprintf(" (%d times)", d.Count)
		}
		why := d.Why
		if d.What == string(mobility.GivenUp) {
			why = "no answer; tried because " + why
		}
		line("  %s %s %s: %s%s", x.at(d.At), d.What, d.Path, why, times)
	}
}

// String returns words such as "address-dependent, ports random".
func (f NATFacts) String() string {
	s := f.Mapping
	if f.Ports != "unknown" {
		s += ", ports " + f.Ports
	}
	if f.Step != 0 {
		s += fmt.Sprintf(" by %+d", f.Step)
	}
	if f.Guessed {
		s += " (guessed)"
	}
	return s
}

func (p *PathFacts) describe() string {
	s := fmt.Sprintf("%s %v", p.Kind, p.Remote)
	if p.Named != "" {
		s += " (" + p.Named + ")"
	}
	if p.Relay != "" {
		s += " via " + p.Relay
	}
	if p.RTT > 0 {
		s += fmt.Sprintf(", rtt %v", round(p.RTT))
	}
	if p.Loss > 0 {
		s += fmt.Sprintf(", loss %.1f %%", 100*p.Loss)
	}
	return s
}

// at says when something was, counted from the session's beginning.
func (x *Explanation) at(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%+.3fs", t.Sub(x.Born).Seconds())
}

func orNone(a netip.AddrPort, none string) string {
	if !a.IsValid() {
		return none
	}
	return a.String()
}

func round(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}
