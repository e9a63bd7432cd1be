// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/seed-98f0d4c2/runnel/peer"
)

// whoami says what others need to know of us.
func (c *chat) whoami() {
	c.out.note("id %v", c.ep.ID())
	c.out.note("nick %s", c.nick)
	for _, a := range c.ep.LocalAddrs() {
		c.out.note("address %v", a)
	}
	if c.rendezvous != "" {
		c.out.note("rendezvous %s", c.rendezvous)
	}
}

// A contactView is what is known of a contact at one time.
type contactView struct {
	id      peer.ID
	name    string
	state   state
	queued  int
	dropped int
	s       *peer.Session // nil if there is none
}

func (c *chat) view(ct *contact) contactView {
	v := contactView{id: ct.id, name: c.name(ct), state: ct.state, queued: len(ct.outbox), dropped: ct.dropped}
	if ct.link != nil {
		v.s = ct.link.s
	}
	return v
}

// views returns the contacts, or the one that is called ref.
func (c *chat) views(ref string) ([]contactView, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ref != "" {
		ct, err := c.find(ref)
		if err != nil {
			return nil, err
		}
		return []contactView{c.view(ct)}, nil
	}
	var all []contactView
	for _, ct := range c.sorted() {
		all = append(all, c.view(ct))
	}
	return all, nil
}

// peerTable has a row for each contact.
func (c *chat) peerTable() string {
	all, _ := c.views("")
	if len(all) == 0 {
		return "nobody; /add a peer\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNICK\tSTATE\tPATH\tRTT\tQUEUED\tMISSED")
	for _, v := range all {
		path, rtt := "-", "-"
		if v.s != nil {
			st := v.s.Stats()
			path, rtt = st.Path.Kind.String(), brief(roundTrip(st))
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%s\t%d\t%d\n", v.id.Short(), clean(v.name), v.state, path, rtt, v.queued, v.dropped)
	}
	_ = w.Flush()
	return b.String()
}

// showPaths says all about the sessions, or the one with the peer that is named.
func (c *chat) showPaths(args []string) error {
	return c.eachSession(args, func(v contactView) { c.showPath(v.name, v.s.Stats()) })
}

// explainPaths says why the sessions, or the one with the peer that is named, are as they are.
func (c *chat) explainPaths(args []string) error {
	return c.eachSession(args, func(v contactView) {
		c.out.note("why %s", v.name)
		c.out.text(v.s.Explain().String())
	})
}

func (c *chat) eachSession(args []string, show func(contactView)) error {
	all, err := c.views(strings.Join(args, ""))
	if err != nil {
		return err
	}
	shown := 0
	for _, v := range all {
		if v.s != nil {
			shown++
			show(v)
		}
	}
	if shown == 0 {
		return errNotConnected
	}
	return nil
}

func (c *chat) showPath(name string, st peer.Stats) {
	c.out.note("path-now %s %v addr=%v rtt=%s min-rtt=%s changes=%d known=%d",
		name, st.Path.Kind, st.Path.Remote, brief(roundTrip(st)), brief(st.MinRTT), st.PathChanges, len(st.Paths))
	c.out.note("path-bytes %s sent=%d received=%d packets-sent=%d packets-received=%d forged=%d replayed=%d",
		name, st.BytesSent, st.BytesReceived, st.PacketsSent, st.PacketsReceived, st.Forged, st.Replayed)
	var b strings.Builder
	for _, m := range st.Timeline {
		at := "0s"
		if m.At > 0 {
			at = brief(m.At)
		}
		fmt.Fprintf(&b, " %s=%s", m.Name, at)
	}
	c.out.note("path-timeline %s%s", name, b.String())
	if !c.out.human {
		return
	}
	for _, p := range st.Paths {
		c.out.aside("  %v %v rtt=%s", p.Kind, p.Remote, brief(p.RTT))
	}
}
