// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"fmt"
	"testing"
	"time"
)

// TestNamedDisplaceThePast fills the table with paths that answered before the peer moved. What the peer names then finds
// room, all of it.
func TestNamedDisplaceThePast(t *testing.T) {
	first := direct("192.0.2.1:1")
	r := newRig(t, first, Policy{})
	for i := range MaxPaths - 1 {
		r.validate(direct(fmt.Sprintf("192.0.2.2:%d", i+1)), 40*time.Millisecond)
		r.pass(500 * time.Millisecond)
	}
	r.m.HandleLocalChange(r.now, "test")
	r.pass(5 * time.Second)
	if !r.m.Outage() {
		t.Fatal("no outage though nothing answers")
	}
	var list []Candidate
	for i := range MaxPaths - 4 {
		list = append(list, direct(fmt.Sprintf("198.51.100.1:%d", i+1)))
	}
	r.m.HandleCandidates(r.now, list)
	for _, c := range list {
		if r.m.lookup(c.Key) == nil {
			t.Errorf("no room for %v, which the peer has named, beside %d paths that do not answer", c.Key, len(r.m.paths))
		}
	}
	r.pass(3 * time.Second)
	last := list[len(list)-1].Key
	r.answer(last)
	r.wantCurrent("the last of those named answers", last)
}

// TestOpenedWayIsTriedAgain has the first challenge meet a filter that the peer opens after it.
func TestOpenedWayIsTriedAgain(t *testing.T) {
	r := newRig(t, direct("192.0.2.1:1"), Policy{})
	c := direct("192.0.2.2:2")
	r.m.HandleCandidate(r.now, c)
	r.take(Challenge)
	r.pass(20 * time.Millisecond)
	r.received(c.Key, false)
	if n := len(r.take(Challenge)); n != 0 {
		t.Errorf("%d challenges half a round trip after the first, want none: it may still be answered", n)
	}
	c = direct("192.0.2.3:3")
	r.m.HandleCandidate(r.now, c)
	r.take(Challenge)
	r.pass(40 * time.Millisecond)
	r.take(Challenge)
	r.received(c.Key, false)
	if all := r.take(Challenge); len(all) != 1 || all[0].Path.Key != c.Key {
		t.Errorf("challenges when something came by a path that has not answered: %v, want one by it", all)
	}
	r.received(c.Key, false)
	if n := len(r.take(Challenge)); n != 0 {
		t.Errorf("%d challenges with the next packet, want none", n)
	}
}

// TestFollowToWhereThePeerSaidItWouldBe has the peer name its new address, answer from there, and then use it.
func TestFollowToWhereThePeerSaidItWouldBe(t *testing.T) {
	old, c := direct("192.0.2.1:1"), direct("192.0.2.2:2")
	r := newRig(t, old, Policy{})
	r.pass(time.Second)
	r.received(old.Key, true)
	r.m.HandleCandidates(r.now, []Candidate{c})
	r.drain()
	r.pass(20 * time.Millisecond)
	r.received(old.Key, true) // was on its way
	r.pass(20 * time.Millisecond)
	r.answer(c.Key)
	r.wantMoves("it answers", 0)
	r.pass(30 * time.Millisecond)
	r.received(c.Key, true)
	r.wantCurrent("the peer's newest packet comes from there", c.Key)
	r.pass(time.Millisecond)
	r.received(old.Key, true)
	r.wantMoves("an old path brings something again", 1)
}

// TestIdleRelays has two ends that keep a relay to fall back on. They choose the one that lets their challenge in, and what
// one of them checks the other need not.
func TestIdleRelays(t *testing.T) {
	cur := direct("192.0.2.1:1")
	own := Candidate{Key{1, addr("192.0.2.1:1")}, Relayed}
	peers := Candidate{Key{0, addr("198.51.100.1:1")}, Relayed}
	r := newRigWith(t, cur, &Config{Keepalive: -1})
	r.validate(own, 40*time.Millisecond)
	r.validate(peers, 42*time.Millisecond)
	quarter := func() (asked []Key) { // of a minute, in which all paths work; the relays challenged
		for range 375 {
			r.pass(40 * time.Millisecond)
			for _, a := range r.take(Challenge) {
				r.m.HandleResponse(r.now, a.Path.Key, a.Data)
				if a.Path.Kind == Relayed {
					asked = append(asked, a.Path.Key)
				}
			}
		}
		r.received(cur.Key, true)
		return asked
	}
	for range 4 {
		quarter()
	}
	for range 2 { // the peer checks every ten minutes
		r.m.HandleReceived(r.now, own.Key, challengeSize, false)
		r.m.HandleChallenge(r.now, own.Key, [8]byte{1})
		for range 40 {
			if asked := quarter(); len(asked) > 0 {
				t.Fatalf("%v is challenged though the peer has just checked its relay", asked)
			}
		}
	}
	for range 40 {
		asked := quarter()
		if len(asked) == 0 {
			continue
		}
		if asked[0] != peers.Key {
			t.Errorf("%v is challenged, want %v, where no NAT keeps the challenge out", asked[0], peers.Key)
		}
		return
	}
	t.Errorf("no relay was checked when the peer did not: %v", r.m.Paths())
}
