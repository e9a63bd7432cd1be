// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"testing"
	"time"
)

// A peer that has a second network up moves there, and its first still takes packets in: for as long as it does, nothing
// would be amiss. The session follows all the same, since the peer no longer says that it is there; else it would have to
// find out when the first network goes.
func TestFollowWhoNoLongerNamesWhereItWas(t *testing.T) {
	wifi, cable := direct("192.0.2.1:1000"), direct("198.51.100.1:1000")
	r := newRig(t, wifi, Policy{})
	r.m.HandleCandidates(r.now, []Candidate{wifi})
	r.pass(10 * time.Second)
	r.received(wifi.Key, true)
	r.m.HandleCandidates(r.now, []Candidate{cable})
	r.drain()
	r.pass(unknownRTT) // what was under way from the first network has come
	r.answer(cable.Key)
	if got := r.m.Current().Key; got != wifi.Key {
		t.Fatalf("the path that the peer only answers by is current, %v; want %v until it sends by it", got, wifi.Key)
	}
	r.received(cable.Key, true)
	if got := r.m.Current().Key; got != cable.Key {
		t.Errorf("the peer names %v and sends from there, and the current path is %v", cable.Key, got)
	}

	// It names both again and prefers one for its own reasons: that moves nothing.
	r.m.HandleCandidates(r.now, []Candidate{cable, wifi})
	r.pass(time.Second)
	r.answer(wifi.Key)
	r.received(wifi.Key, true)
	if got := r.m.Current().Key; got != cable.Key {
		t.Errorf("the peer names both and has sent one packet from the other, and the current path is %v, want %v", got, cable.Key)
	}
}

// When everything is in doubt and there is more to challenge than the limit allows, what the peer has just named does not wait
// for another look at where it was before.
func TestNewsGoesFirst(t *testing.T) {
	first := direct("192.0.2.1:1000")
	r := newRig(t, first, Policy{})
	old := []Candidate{first}
	for _, s := range []string{"192.0.2.1:1001", "192.0.2.1:1002", "192.0.2.1:1003", "192.0.2.1:1004", "192.0.2.1:1005"} {
		old = append(old, direct(s), relayed(s))
	}
	r.m.HandleCandidates(r.now, old)
	r.pass(3 * time.Second)
	for _, c := range old[1:] {
		r.answer(c.Key)
	}
	r.pass(5 * time.Second)
	r.m.HandleStall(r.now) // the peer has moved
	r.pass(200 * time.Millisecond)
	r.take(Challenge)
	news := direct("192.0.2.1:2000")
	r.m.HandleCandidates(r.now, []Candidate{news})
	r.m.HandleLocalChange(r.now, "and so have we")
	r.pass(300 * time.Millisecond)
	asked := r.take(Challenge)
	if len(asked) == 0 || asked[0].Path.Key != news.Key {
		t.Errorf("challenged were %v, want %v first", asked, news.Key)
	}
}
