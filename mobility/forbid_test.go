// Copyright 2026 The Runnel Authors
// SPDX-License-Identifier: Apache-2.0

package mobility

import (
	"testing"
	"time"
)

// The application allows direct paths: those it names now are tried, and one that answers is used at once.
func TestPolicyIsRelaxed(t *testing.T) {
	rel, dir := relayed("198.51.100.1:1"), direct("192.0.2.1:1")
	r := newRig(t, rel, Policy{RelayOnly: true})
	r.m.HandleCandidate(r.now, dir)
	r.pass(time.Second)
	r.received(rel.Key, true)
	if got := r.take(Challenge); len(got) > 0 {
		t.Fatalf("%d challenges while only relays are allowed, want none", len(got))
	}
	r.m.SetPolicy(r.now, Policy{})
	r.m.HandleCandidate(r.now, dir)
	r.drain()
	r.now = r.now.Add(20 * ms1)
	r.answer(dir.Key)
	r.wantCurrent("it is direct and answered", dir.Key)
}

// The policy becomes stricter: what it forbids is dropped, with what waits to be sent there, and is neither answered nor
// followed from then on.
func TestPolicyIsTightened(t *testing.T) {
	rel, dir := relayed("198.51.100.1:1"), direct("192.0.2.1:1")
	for name, spare := range map[string]bool{"to a relayed path": true, "to nothing": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, dir, Policy{})
			if spare {
				r.validate(rel, 30*ms1)
			}
			r.take(Challenge)
			r.m.HandleChallenge(r.now, dir.Key, [8]byte{1}) // its answer waits
			r.m.SetPolicy(r.now, Policy{Allowed: func(k Key) bool { return k != dir.Key }})
			r.received(dir.Key, true)
			r.m.HandleChallenge(r.now, dir.Key, [8]byte{2})
			r.m.HandleCandidate(r.now, dir)
			for range 20 {
				r.pass(time.Second)
				for _, op := range []Op{Challenge, Response, Ping} {
					for _, a := range r.take(op) {
						if a.Path.Key == dir.Key {
							t.Fatalf("%v by %v, which is forbidden", a.Op, a.Path)
						}
						if a.Op == Challenge {
							r.m.HandleResponse(r.now, a.Path.Key, a.Data)
						}
					}
				}
			}
			if b := r.m.Budget(dir.Key); b != 0 {
				t.Errorf("budget of the forbidden path is %d, want 0", b)
			}
			if spare {
				r.wantCurrent("the other is forbidden", rel.Key)
			} else if dead := r.take(Dead); len(dead) != 1 || !r.m.Outage() {
				t.Errorf("%d Dead and outage %v, want one: no path is left", len(dead), r.m.Outage())
			}
		})
	}
}
