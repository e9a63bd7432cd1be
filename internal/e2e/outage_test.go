// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A NAT that forgets its mappings makes new ones with the next packet from inside. A peer that may be reached from
// anywhere sees that packet come from another port and follows it.
func TestRebindTowardsPublic(t *testing.T) {
	l := newLab(t, labConfig{})
	p := l.pair(cone, nil)
	meet(p.alice, p.bob)
	p.alice.direct(p.bob)
	talk(p.alice, p.bob, "before")

	p.siteA.Rebind()
	begin := time.Now()
	p.alice.tell(p.bob, "from another port", talkTime)
	p.bob.tell(p.alice, "to another port", talkTime)
	t.Logf("Rebind: a line there and one back took %v", time.Since(begin).Round(time.Millisecond))

	p.siteA.Renumber()
	begin = time.Now()
	p.alice.tell(p.bob, "from another address", talkTime)
	p.bob.tell(p.alice, "to another address", talkTime)
	t.Logf("Renumber: a line there and one back took %v", time.Since(begin).Round(time.Millisecond))
	p.alice.sameSession()
	p.bob.sameSession()
}

// The same with a second NAT in front of the other peer: that one drops what comes from the new port, until the peer behind
// it has been told, by the relay or through the rendezvous, to write there first.
func TestRebindTowardsNAT(t *testing.T) {
	l := newLab(t, labConfig{})
	p := l.pair(cone, cone)
	meet(p.alice, p.bob)
	p.alice.direct(p.bob)
	talk(p.alice, p.bob, "before")

	p.siteA.Rebind()
	begin := time.Now()
	p.alice.tell(p.bob, "from another port", 3*talkTime)
	p.bob.tell(p.alice, "to another port", 3*talkTime)
	t.Logf("a line there and one back took %v; alice's path is %s", time.Since(begin).Round(time.Millisecond), p.alice.path(p.bob))
	p.alice.sameSession()
	p.bob.sameSession()
}

// The peer whose NAT has forgotten it has nothing to say, and whoever writes to it writes to nobody until it asks for a
// sign of life.
func TestRebindOfListener(t *testing.T) {
	l := newLab(t, labConfig{})
	p := l.pair(cone, nil)
	meet(p.alice, p.bob)
	p.alice.direct(p.bob)
	talk(p.alice, p.bob, "before")

	p.siteA.Rebind()
	begin := time.Now()
	p.bob.tell(p.alice, "are you there", 3*talkTime)
	t.Logf("a line took %v", time.Since(begin).Round(time.Millisecond))
	p.alice.sameSession()
	p.bob.sameSession()
}

// Peers that talk directly do not need the relay, and peers in session do not need the rendezvous. Who comes later does,
// and finds it as soon as it is back.
func TestServersFail(t *testing.T) {
	l := newLab(t, labConfig{})
	p := l.pair(cone, cone)
	meet(p.alice, p.bob)
	p.alice.direct(p.bob)
	p.bob.direct(p.alice)
	talk(p.alice, p.bob, "with servers")

	l.relay.kill()
	talk(p.alice, p.bob, "without the relay")
	l.rendezvous.kill()
	talk(p.alice, p.bob, "without any server")

	l.startRelay()
	l.startRendezvous(netip.AddrPortFrom(l.rendezvousHost.Addr(), 8080))
	carol := l.chat(l.Site("c", cone).Host("carol"), "carol")
	meet(carol, p.bob)
	carol.direct(p.bob)
	talk(carol, p.bob, "a new face")
	p.alice.tell(p.bob, "still here", talkTime)

	m := p.bob.mark()
	if code := carol.stop(talkTime); code != 0 {
		t.Errorf("carol was interrupted and exited with %d, want 0", code)
	}
	p.bob.expectAfter(m, talkTime, `^\* ended \S+ carol: `)
	if ended := p.alice.printed(0, `^\* ended `); len(ended) > 0 {
		t.Errorf("alice: want the session with bob to last, got\n%s", strings.Join(ended, "\n"))
	}
}

// A relay that restarts knows nothing of its clients' allocations. They notice when they want to use them.
func TestRelayRestarts(t *testing.T) {
	l := newLab(t, labConfig{})
	p := l.pair(symmetric, symmetric)
	p.alice.expectLog(startTime, `msg="relay allocated"`)
	p.bob.expectLog(startTime, `msg="relay allocated"`)
	l.relay.kill()
	l.startRelay()
	meet(p.alice, p.bob)
	talk(p.alice, p.bob, "through the new relay")
	p.check("relayed")
}

// A peer that is killed and started again is back at once, not when the session it has forgotten has timed out.
func TestPeerRestarts(t *testing.T) {
	l := newLab(t, labConfig{})
	p := l.pair(cone, cone)
	meet(p.alice, p.bob)
	talk(p.alice, p.bob, "before")
	p.bob.kill()

	m := p.alice.mark()
	bob := l.chatAgain(p.siteB.Host("bob2"), "bob", p.bob.dir)
	if bob.id != p.bob.id {
		t.Fatalf("bob has become %s, want the identity he had, %s", bob.id, p.bob.id)
	}
	bob.say("/add " + p.alice.id)
	bob.expect(connectTime, `^\* ready \S+ alice `)
	p.alice.expectAfter(m, connectTime, `^\* ready \S+ bob `)
	talk(p.alice, bob, "after")
}

// Both dial at the same time, and one session results.
func TestGlare(t *testing.T) {
	l := newLab(t, labConfig{})
	a, b := l.Site("a", cone), l.Site("b", cone)
	for i := range 5 {
		alice, bob := l.chat(a.Host("alice"+strconv.Itoa(i)), "alice"), l.chat(b.Host("bob"+strconv.Itoa(i)), "bob")
		alice.say("/add " + bob.id)
		bob.say("/add " + alice.id)
		alice.expect(connectTime, `^\* ready \S+ bob `)
		bob.expect(connectTime, `^\* ready \S+ alice `)
		talk(alice, bob, "hello")
		alice.sameSession()
		bob.sameSession()
	}
}
