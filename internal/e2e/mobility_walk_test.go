// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

const (
	walkRate  = 8e6     // bits per second of alice's links
	walkFile  = 3 << 20 // bytes, more than three seconds at that rate
	walkTick  = 20 * time.Millisecond
	settleAll = 30 * time.Second // for everything to go on after a change
)

// A walk is two peers in session, who count aloud to each other while alice sends a file, and something that happens to
// their networks. Every number and the file must arrive once, in order, in that session, with no error anywhere.
type walk struct {
	*lab
	*pair
	hostA, hostB *netns.Host
	there, back  *count
}

// A walkCase is what happens in a walk.
type walkCase struct {
	name  string
	lab   labConfig
	a, b  *netns.SiteConfig // alice's site and bob's
	begin string            // the path before; "direct" if empty
	end   string            // the path in the end; "direct" if empty

	hole  bool          // no packet can get through while it happens, whatever the program does
	spare time.Duration // how much longer a number may take: ten times what it should, for machines that are busy

	interval time.Duration // between numbers; walkTick if zero
	slow     bool          // only if RUNNEL_E2E_LONG is set

	prepare func(w *walk) func() // before the programs start; returns what happens
}

func (c *walkCase) run(t *testing.T) {
	if c.slow && os.Getenv("RUNNEL_E2E_LONG") == "" {
		t.Skip("takes long; set RUNNEL_E2E_LONG=1")
	}
	t.Parallel()
	l := newLab(t, c.lab)
	w := &walk{lab: l, pair: &pair{siteA: l.Site("a", c.a), siteB: l.Site("b", c.b)}}
	w.hostA, w.hostB = w.siteA.Host("alice"), w.siteB.Host("bob")
	happen := c.prepare(w)
	w.alice, w.bob = l.chat(w.hostA, "alice"), l.chat(w.hostB, "bob")
	meet(w.alice, w.bob)
	if c.begin == "" {
		w.alice.direct(w.bob)
		w.bob.direct(w.alice)
	}
	interval := c.interval
	if interval == 0 {
		interval = walkTick
	}
	var stop func()
	w.there, w.back, stop = countBoth(t, w.alice, w.bob, interval)
	file := filepath.Join(t.TempDir(), "film.raw")
	content := make([]byte, walkFile)
	_, _ = rand.Read(content)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	w.alice.say("/send " + file)
	w.bob.expect(connectTime, `^\* file receiving film\.raw `)

	both := []*count{w.there, w.back}
	for _, n := range both {
		n.Begin()
	}
	if done := w.bob.printed(0, `^\* file received `); len(done) > 0 {
		t.Error("the file was through before anything happened, want it to be on its way")
	}
	begin, hole := time.Now(), time.Duration(0)
	happen()
	if c.hole {
		hole = time.Since(begin)
	}
	for _, n := range both {
		n.calm(int(time.Second/interval), settleAll)
		gap, at := n.Gap()
		over := gap - hole
		t.Logf("gap %s, %s -> %s: %v, from %v on, %v more than there was no network", c.name, n.from.nick, n.to.nick,
			gap.Round(time.Millisecond), at.Round(time.Millisecond), over.Round(time.Millisecond))
		if over > c.spare {
			t.Errorf("from %s to %s nothing came for %v, want %v and less than %v more", n.from.nick, n.to.nick,
				gap, hole, c.spare)
		}
	}
	w.bob.expect(settleAll, `^\* file received .*/film\.raw \d+ sha256=`)
	w.alice.expect(settleAll, `^\* file sent film\.raw `)
	if c.end != "relayed" {
		w.alice.direct(w.bob)
		w.bob.direct(w.alice)
	}
	stop()
	for _, n := range both {
		n.settle(settleAll)
	}
	w.alice.say("/why") // for whoever reads the output
	w.bob.say("/why")
	if c.end == "relayed" {
		w.check("relayed")
	} else {
		w.check("direct")
	}
	for _, p := range []*chatter{w.alice, w.bob} {
		if bad := p.printed(0, `^\* (error|undelivered|offline|file failed)`); len(bad) > 0 {
			t.Errorf("%s: want no error, got\n%s", p.nick, strings.Join(bad, "\n"))
		}
		for _, line := range p.printed(0, `^\* (path|degraded|stalled|resumed) `) {
			t.Logf("%s: %s", p.nick, line)
		}
	}
}
