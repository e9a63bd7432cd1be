// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-98f0d4c2/runnel/mobility"
)

// relayNews is what is remembered of a relay for people who ask.
type relayNews struct {
	url      string    // that the last allocation was made by
	since    time.Time // and when
	failed   string    // the same of the last failure
	err      error
	failedAt time.Time
}

// noteHeld remembers an allocation; relays.mu is held.
func (h *relayHolder) noteHeld(url string) { h.facts.url, h.facts.since = url, time.Now() }

// noteFailed remembers that an allocation could not be made, or was lost.
func (r *relays) noteFailed(h *relayHolder, url string, err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h.facts.failed, h.facts.err, h.facts.failedAt = url, err, time.Now()
}

// report says how it stands with every relay.
func (r *relays) report() []RelayFacts {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []RelayFacts
	for host, h := range r.holders {
		n := &h.facts
		f := RelayFacts{Host: host, Since: n.since, FailedURL: n.failed, FailedAt: n.failedAt}
		if n.err != nil {
			f.Error = n.err.Error()
		}
		if h.held != nil {
			f.URL, f.Relayed = n.url, h.held.Relayed()
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b RelayFacts) int { return strings.Compare(a.Host, b.Host) })
	return out
}

// hostOf names the relay that an allocation is at.
func (r *relays) hostOf(via int32) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for host, h := range r.holders {
		if h.held != nil && h.via == via {
			return host
		}
	}
	return "gone"
}

// report says how every STUN server sees this host.
func (r *reflexive) report() []STUNFacts {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []STUNFacts
	for _, a := range r.known {
		out = append(out, STUNFacts{a, r.mapped[a]})
	}
	return out
}

// report says what has become of asking the router.
func (p *portMapping) report() []MappingFacts {
	m := p.mapper()
	if m == nil {
		return nil
	}
	var out []MappingFacts
	for _, st := range m.Status() {
		f := MappingFacts{
			IPv6: st.V6, Gateway: st.Gateway.Addr, Protocol: st.Protocol.String(), External: st.External, Expires: st.Expires,
		}
		if st.Err != nil {
			f.Error = strings.ReplaceAll(strings.TrimPrefix(st.Err.Error(), "portmap: "), "\n", "; ")
		}
		out = append(out, f)
	}
	return out
}

// viewLife is how old a view may be that serves a session which ends: many may end at one time, and the system takes some
// hundred microseconds to say what addresses there are.
const viewLife = time.Second

// A hostView is what the system says of this host, with the NAT in front of it, which depends on that.
type hostView struct {
	mu      sync.Mutex
	at      time.Time
	nets    []netip.Prefix // private ones
	offline bool           // there is no address
	mapping mobility.Mapping
}

// look returns the view, which is made anew if it is older than life.
func (e *Endpoint) look(now time.Time, life time.Duration) (nets []netip.Prefix, offline bool, mapping mobility.Mapping) {
	v := &e.view
	v.mu.Lock()
	defer v.mu.Unlock()
	if age := now.Sub(v.at); v.at.IsZero() || age < 0 || age >= life {
		v.at = now
		v.nets, v.offline, v.mapping = e.localNets(), len(e.hostAddrs()) == 0, e.stun.nat().mapping
	}
	return v.nets, v.offline, v.mapping
}

// maxChanges is how many changes of the network an endpoint remembers.
const maxChanges = 16

// note remembers a change of the network.
func (g *ground) note(now time.Time, why string, moved bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.changes) == maxChanges {
		g.changes = slices.Delete(g.changes, 0, 1)
	}
	g.changes = append(g.changes, NetworkChange{now, why, moved})
}

// report returns the changes since a time.
func (g *ground) report(since time.Time) []NetworkChange {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []NetworkChange
	for _, c := range g.changes {
		if !c.At.Before(since) {
			out = append(out, c)
		}
	}
	return out
}
