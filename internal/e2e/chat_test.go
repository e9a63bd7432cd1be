// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-98f0d4c2/runnel/internal/netns"
)

// A chatter is a chat program in piped mode. What it prints is documented with that program.
type chatter struct {
	*process
	nick string
	id   string
	dir  string // where received files go
	said int    // lines
}

// chat starts a chat program with a new identity and waits until it is registered.
func (l *lab) chat(h *netns.Host, nick string) *chatter {
	l.t.Helper()
	return l.chatAgain(h, nick, l.t.TempDir())
}

// chatAgain is chat with the identity of a program that has used dir before.
func (l *lab) chatAgain(h *netns.Host, nick, dir string) *chatter {
	l.t.Helper()
	c := startChat(l.t, h, nick, dir, "--rendezvous", l.url)
	c.expect(startTime, `^\* online `)
	return c
}

// startChat starts a chat program that keeps its identity and received files in dir.
func startChat(t *testing.T, h *netns.Host, nick, dir string, args ...string) *chatter {
	t.Helper()
	args = append([]string{"--key", filepath.Join(dir, "key.pem"), "--dir", dir, "--nick", nick, "--log-level", "debug"}, args...)
	c := &chatter{process: start(t, h, nick, program("chat"), args...), nick: nick, dir: dir}
	c.id = c.expect(startTime, `^\* id (\S+)`)[1]
	return c
}

// A pair is two peers that shall meet, each on a host at a site of its own.
type pair struct {
	siteA, siteB *netns.Site
	alice, bob   *chatter
}

func (l *lab) pair(a, b *netns.SiteConfig) *pair {
	l.t.Helper()
	p := &pair{siteA: l.Site("a", a), siteB: l.Site("b", b)}
	p.alice, p.bob = l.chat(p.siteA.Host("alice"), "alice"), l.chat(p.siteB.Host("bob"), "bob")
	return p
}

// meet lets a add b and waits until both are in session.
func meet(a, b *chatter) { meetAt(a, b, b.id) }

// meetAt is meet with what a adds: an ID, or ID@host:port.
func meetAt(a, b *chatter, target string) {
	a.t.Helper()
	begin := time.Now()
	a.say("/add " + target)
	line := a.expect(connectTime, `^\* ready \S+ `+b.nick+` .*`)[0]
	b.expect(connectTime, `^\* ready \S+ `+a.nick+` `)
	a.t.Logf("after %v: %s", time.Since(begin).Round(time.Millisecond), line)
}

// names matches what c may call another peer: by its nick, or by its ID before it has said its nick.
func (c *chatter) names(other *chatter) string { return "(?:" + other.nick + "|" + other.id[:8] + ")" }

// path asks c how its packets go to another peer: "direct" or "relayed".
func (c *chatter) path(to *chatter) string {
	c.t.Helper()
	m := c.mark()
	c.say("/path")
	return c.expectAfter(m, talkTime, `^\* path-now `+c.names(to)+` (\w+)`)[1]
}

// pathAddr asks c where its packets to another peer are sent.
func (c *chatter) pathAddr(to *chatter) netip.AddrPort {
	c.t.Helper()
	m := c.mark()
	c.say("/path")
	return netip.MustParseAddrPort(c.expectAfter(m, talkTime, `^\* path-now `+c.names(to)+` \w+ addr=(\S+)`)[1])
}

// direct waits until packets go to the other peer directly, in a session that may have begun on a relay.
func (c *chatter) direct(to *chatter) {
	c.t.Helper()
	m := c.mark()
	c.say("/path") // which tells how it is; if it is not direct yet, a line will tell when it is
	c.expectAfter(m, connectTime, `^\* path(?:-now `+c.names(to)+`| `+c.names(to)+` \w+) direct\b`)
}

// tell says a line and waits until it is with the other peer, and known to be.
func (c *chatter) tell(to *chatter, text string, within time.Duration) {
	c.t.Helper()
	c.say(text)
	c.said++
	to.expect(within, "^< "+c.nick+": "+regexp.QuoteMeta(text)+"$")
	c.expect(within, fmt.Sprintf(`^\* delivered %d$`, c.said))
}

// talk exchanges lines in both directions.
func talk(a, b *chatter, about string) {
	a.t.Helper()
	a.tell(b, about+", says "+a.nick, talkTime)
	b.tell(a, about+", says "+b.nick, talkTime)
	a.tell(b, about+" once more, says "+a.nick, talkTime)
}

// sameSession checks that c has had one session only and still has it.
func (c *chatter) sameSession() {
	c.t.Helper()
	if ended := c.printed(0, `^\* (ended|unreachable) `); len(ended) > 0 {
		c.t.Errorf("%s: want the session to last, got\n%s", c.nick, strings.Join(ended, "\n"))
	}
	if ready := c.printed(0, `^\* ready `); len(ready) != 1 {
		c.t.Errorf("%s: want one session, got %d\n%s", c.nick, len(ready), strings.Join(ready, "\n"))
	}
}
